"""Makes schedules: `cron(...)`, `every(...)`, `at(...)`, `any_of(...)`, and the command line flags."""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from horae.clock import EPOCH, parse_instant
from horae.errors import InvalidSchedule, unknown
from horae.schedules.durations import parse_duration
from horae.schedules.kinds import AnyOf, At, Cron, Every, Schedule, aware

PARTS = ("weeks", "days", "hours", "minutes", "seconds")


ZONE_PREFIX = re.compile(r"\s*(?:CRON_)?TZ=(\S+)\s+")


def cron(expression: str, tz: str | None = None) -> Cron:
    """`cron("0 2 * * *", "Europe/Berlin")`. Raises InvalidSchedule if it cannot be parsed or never fires.

    Without `tz` the zone is UTC, or the zone of a prefix as in some crontabs: `CRON_TZ=Europe/Berlin 0 2 * * *`.
    """
    if prefix := ZONE_PREFIX.match(str(expression)):
        if tz is not None and tz != prefix[1]:
            raise InvalidSchedule(
                f"cron {expression!r} names the time zone {prefix[1]}, but tz={tz!r} is another; give one"
            )
        return Cron(expression[prefix.end() :], prefix[1])
    return Cron(expression, "UTC" if tz is None else tz)


_cron = cron  # `parse_schedule` has a parameter named `cron`


def every(span: str | timedelta | None = None, *, anchor: datetime | str | None = None, **parts: float) -> Every:
    """`every("30s")`, `every(timedelta(hours=1))` or `every(hours=1)`, at least a second; raises InvalidSchedule.

    The fires are at multiples of the interval since the Unix epoch, or since `anchor`, before and after it.
    """
    for name in parts:
        if name not in PARTS:
            raise InvalidSchedule(unknown("unit of every()", name, PARTS))
    if (span is None) == (not parts):
        raise InvalidSchedule('every() takes one interval: every("30s") or every(seconds=30)')
    if span is not None and not isinstance(span, str | timedelta):
        raise InvalidSchedule(f'every({span!r}) has no unit; write every("{span}s") or every(seconds={span})')
    try:
        interval = span if isinstance(span, timedelta) else parse_duration(span) if span else timedelta(**parts)
    except (OverflowError, TypeError, ValueError) as error:
        raise InvalidSchedule(f"every({parts}): {error}") from error
    return Every(interval, _instant(anchor) - EPOCH if anchor is not None else timedelta(0))


def at(*instants: datetime | str) -> At:
    """`at("2026-12-01T02:00:00Z", datetime(..., tzinfo=UTC))`; raises InvalidSchedule if one is naive or malformed."""
    return At(tuple(map(_instant, instants)))


def any_of(*schedules: Schedule) -> Schedule:
    """The union of schedules, independent of their order. Raises InvalidSchedule if none is given."""
    flat = {str(item): item for one in schedules for item in (one.members if isinstance(one, AnyOf) else (one,))}
    if not flat:
        raise InvalidSchedule("any_of() needs a schedule: cron(...), every(...) or at(...)")
    members = tuple(flat[text] for text in sorted(flat))
    return members[0] if len(members) == 1 else AnyOf(members)


def parse_schedule(
    *, cron: str | None = None, tz: str | None = None, every: str | None = None, at: Iterable[str] = ()
) -> Schedule:
    """The schedule that the command line flags describe; raises InvalidSchedule."""
    instants = tuple(at)
    given = {"--cron": cron is not None, "--every": every is not None, "--at": bool(instants)}
    named = [flag for flag, there in given.items() if there]
    if tz is not None and cron is None:
        raise InvalidSchedule(f"--tz {tz} needs --cron: --every counts real time, and --at contains its offset")
    if len(named) != 1:
        said = f"{' and '.join(named)} together" if named else "no schedule"
        raise InvalidSchedule(f'{said}: give exactly one of --cron "0 2 * * *", --every 30s, --at 2026-12-01T02:00:00Z')
    if cron is not None:
        return _cron(cron, tz)
    return Every(parse_duration(every)) if every is not None else At(tuple(map(_instant, instants)))


def schedule_from(text: str) -> Schedule:
    """The schedule whose `str()` equals `text`; raises InvalidSchedule for any other text."""
    if " or " in text:
        return any_of(*map(schedule_from, text.split(" or ")))
    kind, _, rest = text.partition(" ")
    match kind:
        case "cron":
            expression, _, tz = rest.rpartition(" ")
            return Cron(expression, tz)
        case "every":
            span, _, anchor = rest.partition(" from ")
            return every(span, anchor=anchor or None)
        case "at":
            return at(*rest.split(", "))
    raise InvalidSchedule(f"{text!r} is not a stored schedule")


def _instant(given: datetime | str) -> datetime:
    if isinstance(given, datetime):
        return aware(given)
    try:
        return parse_instant(given)
    except ValueError as error:
        why = error if "time zone" in str(error) else f"{given!r} is not an instant; write it as 2026-12-01T02:00:00Z"
        raise InvalidSchedule(str(why)) from error
    except (TypeError, AttributeError) as error:
        raise InvalidSchedule(
            f"{given!r} is not an instant; give a datetime, or a text such as 2026-12-01T02:00:00Z"
        ) from error
