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
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, in its documented shape.")]
Cron = Annotated[
    str | None,
    typer.Option("--cron", metavar="EXPRESSION", help='A cron expression of five fields, such as "0 2 * * *".'),
]
Zone = Annotated[
    str | None,
    typer.Option("--tz", metavar="ZONE", help="The IANA time zone of --cron, such as Europe/Berlin. Default: UTC."),
]
Every = Annotated[
    str | None, typer.Option("--every", metavar="DURATION", help="An interval, such as 30s, 5m, 1h30m or 90d.")
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="INSTANT", help="An instant, such as 2026-12-01T02:00:00Z. May be repeated."),
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="KEY=VALUE",
        help="An argument of the job. The value is read as JSON if possible, else as text. May be repeated.",
    ),
]
RunId = Annotated[
    str,
    typer.Argument(
        metavar="RUN_ID", help="The id of a run, or an unambiguous beginning or end of it with at least 8 characters."
    ),
]
JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="The name of a job; `horae jobs` lists them.", autocompletion=job_names)
]


def schedule_of(cron: str | None, tz: str | None, every: str | None, at: Sequence[str] | None) -> Schedule | None:
    """The schedule that the options describe, None without any; raises InvalidSchedule."""
    if cron is None and every is None and not at:
        if tz is not None:
            raise InvalidSchedule("--tz is given without --cron. It is the time zone of --cron; give --cron too")
        return None
    return parse_schedule(cron=cron, tz=tz, every=every, at=tuple(at or ()))


def instant_of(option: str, text: str) -> datetime:
    """An ISO 8601 instant with an offset; raises UsageError."""
    try:
        return clock.parse_instant(text)
    except ValueError as error:
        reason = str(error) if str(error).startswith(repr(text)) else f"{text!r} is not an instant"
        raise UsageError(f"{option}: {reason}; write it as 2026-12-01T02:00:00Z") from error


def when_of(option: str, text: str) -> datetime:
    """An instant, or that long ago; raises UsageError."""
    try:
        ago = parse_duration(text)
    except InvalidSchedule:
        if text.strip().isdecimal() and len(text.strip()) < 8:
            raise UsageError(f"{option}: {text!r} has no unit; write {text}h or {text}d ago") from None
        if TIME_OF_DAY.fullmatch(text.strip()):
            today = f"{clock.now():%Y-%m-%d}T{text.strip()}Z"
            raise UsageError(f"{option}: {text!r} has no date; write {today}, or a duration such as 3h") from None
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
                f"--context {pair!r}: it is not of the form KEY=VALUE, where KEY is the name of a parameter of the job"
            )
        if key in found:
            raise UsageError(f"--context gives {key!r} twice; a list is written as KEY=[1,2]")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found
