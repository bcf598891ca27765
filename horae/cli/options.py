"""Options that several commands share, and what they mean."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from horae import clock
from horae.cli.completing import job_names
from horae.errors import InvalidSchedule, UsageError, unknown
from horae.schedules.durations import parse_duration
from horae.schedules.kinds import Schedule
from horae.schedules.making import parse_schedule

TIME_OF_DAY = re.compile(r"[0-2][0-9]:[0-5][0-9](:[0-5][0-9])?")
Json = Annotated[bool, typer.Option("--json", help="Print JSON in its documented shape, and nothing else.")]
Cron = Annotated[str | None, typer.Option("--cron", metavar="EXPRESSION", help='Five fields, such as "0 2 * * *".')]
Zone = Annotated[
    str | None, typer.Option("--tz", metavar="ZONE", help="IANA zone of --cron, such as Europe/Berlin. Default: UTC.")
]
Every = Annotated[str | None, typer.Option("--every", metavar="DURATION", help="Such as 30s, 5m, 1h30m or 90d.")]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="INSTANT", help="Such as 2026-12-01T02:00:00Z; may be repeated."),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context", "-c", metavar="KEY=VALUE", help="An argument of the job, as JSON or else as text; may be repeated."
    ),
]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID", help="A run's id, or an unambiguous beginning or end of it, 8 characters or more."
    ),
]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="The name of a job; `horae jobs` lists them.", autocompletion=job_names)
]


def schedule_of(cron: str | None, tz: str | None, every: str | None, at: Sequence[str] | None) -> Schedule | None:
    """The schedule that the options describe, None without any; raises InvalidSchedule."""
    if cron is None and every is None and not at:
        if tz is not None:
            raise InvalidSchedule("--tz is the zone of --cron; give --cron too")
        return None
    return parse_schedule(cron=cron, tz=tz, every=every, at=tuple(at or ()))


def instant_of(option: str, text: str) -> datetime:
    """An ISO 8601 instant with an offset; raises UsageError."""
    try:
        return clock.parse_instant(text)
    except ValueError as error:
        reason = str(error) if str(error).startswith(repr(text)) else f"{text!r} is not an instant"
        raise UsageError(f"{option}: {reason}; give one such as 2026-12-01T02:00:00Z") from error


def when_of(option: str, text: str) -> datetime:
    """An instant, or that long ago; raises UsageError."""
    try:
        ago = parse_duration(text)
    except InvalidSchedule:
        if text.strip().isdecimal() and len(text.strip()) < 8:
            raise UsageError(f"{option}: {text!r} has no unit; write {text}h or {text}d for that long ago") from None
        if TIME_OF_DAY.fullmatch(text.strip()):
            today = f"{clock.now():%Y-%m-%d}T{text.strip()}Z"
            raise UsageError(f"{option}: {text!r} names no day; write {today}, or a duration such as 3h") from None
        return instant_of(option, text)
    now = clock.now()
    return now - min(ago, now - clock.EPOCH)  # no run is older than the epoch


def members_of[E: StrEnum](kind: type[E], noun: str, given: Sequence[str] | None) -> frozenset[E]:
    """The members of those names; raises UsageError with the nearest right one."""
    allowed = [member.value for member in kind]
    for name in given or ():
        if name not in allowed:
            raise UsageError(unknown(noun, name, allowed))
    return frozenset(kind(name) for name in given or ())


def context_of(pairs: Sequence[str] | None) -> dict[str, Any]:
    """`KEY=VALUE` pairs, values as JSON where they are JSON and as text elsewhere; raises UsageError."""
    found: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(
                f"--context {pair!r}: write KEY=VALUE, with the name of one of the job's parameters as KEY"
            )
        if key in found:
            raise UsageError(f"--context gives {key!r} twice; a list is written as KEY=[1,2]")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
