"""When a job is due: `cron(...)`, `every(...)`, `at(...)`. Time in, time out; no clock inside."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import combinations, pairwise
from math import gcd
from typing import Protocol, runtime_checkable

from horae.clock import EPOCH, isoformat, parse_instant
from horae.cron import first_after, read
from horae.errors import InvalidSchedule, unknown
from horae.shortest_gap import shortest_gap
from horae.zones import zone

MILLISECOND = timedelta(milliseconds=1)
"""The store's resolution: a finer instant would come again after it was rounded."""
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=36_525)
PARTS = ("weeks", "days", "hours", "minutes", "seconds")
WALK_FROM, WALK_FIRES = datetime(2000, 1, 1, tzinfo=UTC), 2000


@runtime_checkable
class Schedule(Protocol):
    """A rule of instants. `str()` of it is canonical: equal text, equal fires."""

    def next_after(self, now: datetime) -> datetime | None:
        """The first instant strictly after `now` (aware), in UTC; None when there is none."""

    def shortest_gap(self) -> timedelta | None:
        """The shortest time between two fires; None when it fires at most once."""


def aware(instant: datetime) -> datetime:
    """The same instant in UTC; raises InvalidSchedule for a naive one."""
    if instant.tzinfo is None:
        raise InvalidSchedule(f"{instant.isoformat()} has no time zone; give datetime(..., tzinfo=UTC) or ...Z")
    return instant.astimezone(UTC)


DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h30m`, `90d` as a timedelta; raises InvalidSchedule."""
    parts = DURATION.findall(text.strip().lower())
    if not parts or "".join(n + u for n, u in parts) != text.strip().lower():
        raise InvalidSchedule(f"{text!r} is not a duration; write a number and s, m, h or d, such as 30s or 1h30m")
    try:
        return timedelta(seconds=sum(float(number) * UNIT_SECONDS[unit] for number, unit in parts))
    except OverflowError as error:
        raise InvalidSchedule(f"{text!r} is longer than any clock runs") from error


def format_duration(duration: timedelta) -> str:
    """What `parse_duration` reads back: `30s`, `1h30m`, `90d`; whole milliseconds."""
    rest, text = duration // MILLISECOND, ""
    for unit in ("d", "h", "m", "s", "ms"):
        count, rest = divmod(rest, round(UNIT_SECONDS[unit] * 1000))
        text += f"{count}{unit}" if count else ""
    return text or "0s"


@dataclass(frozen=True)
class Cron:
    """A cron expression in an IANA zone; see `horae.cron` for the dialect. Made by `cron(...)`."""

    expression: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.expression, self.tz)):
            raise InvalidSchedule(f'cron({self.expression!r}, {self.tz!r}): give texts, such as "0 2 * * *", "UTC"')
        zone(self.tz)
        object.__setattr__(self, "expression", read(self.expression).text)

    def next_after(self, now: datetime) -> datetime | None:
        return first_after(read(self.expression), zone(self.tz), aware(now))

    def shortest_gap(self) -> timedelta:
        """By the wall clock: the hour that a day in spring lacks is not counted."""
        return shortest_gap(self.expression)

    def __str__(self) -> str:
        return f"cron {self.expression} {self.tz}"


@dataclass(frozen=True)
class Every:
    """Every so often in real time, on all machines at the same instants. Made by `every(...)`."""

    interval: timedelta
    offset: timedelta = timedelta(0)
    """From a multiple of the interval since the Unix epoch; below the interval."""

    def __post_init__(self) -> None:
        if not SHORTEST <= self.interval <= LONGEST:
            raise InvalidSchedule(f"every {format_duration(self.interval)}: give one second to a hundred years")
        if self.interval % MILLISECOND or self.offset % MILLISECOND:
            raise InvalidSchedule(f"every {self.interval}: instants finer than a millisecond cannot be kept; round it")
        object.__setattr__(self, "offset", self.offset % self.interval)

    def next_after(self, now: datetime) -> datetime | None:
        begin = EPOCH + self.offset
        try:
            return begin + ((aware(now) - begin) // self.interval + 1) * self.interval
        except OverflowError:
            return None

    def shortest_gap(self) -> timedelta:
        return self.interval

    def __str__(self) -> str:
        begin = f" from {isoformat(EPOCH + self.offset)}" if self.offset else ""
        return f"every {format_duration(self.interval)}{begin}"


@dataclass(frozen=True)
class At:
    """Once at each of these instants, ascending. Made by `at(...)`."""

    instants: tuple[datetime, ...]

    def __post_init__(self) -> None:
        if not self.instants:
            raise InvalidSchedule("at() needs an instant, such as 2026-12-01T02:00:00Z")
        found = tuple(sorted({aware(instant) for instant in self.instants}))
        for instant in found:
            if instant.microsecond % 1000:
                raise InvalidSchedule(f"{isoformat(instant)} is finer than a millisecond; round it")
        object.__setattr__(self, "instants", found)

    def next_after(self, now: datetime) -> datetime | None:
        now = aware(now)
        return next((instant for instant in self.instants if instant > now), None)

    def shortest_gap(self) -> timedelta | None:
        return min((later - earlier for earlier, later in pairwise(self.instants)), default=None)

    def __str__(self) -> str:
        return f"at {', '.join(map(isoformat, self.instants))}"


@dataclass(frozen=True)
class AnyOf:
    """Whenever one of several schedules fires; once where they fire together. Made by `any_of(...)`."""

    members: tuple[Schedule, ...]

    def next_after(self, now: datetime) -> datetime | None:
        found = [member.next_after(now) for member in self.members]
        return min((instant for instant in found if instant), default=None)

    def shortest_gap(self) -> timedelta | None:
        """Exact among crons of one zone, among intervals, and around single instants.

        Otherwise (crons of two zones, a cron and an interval) as seen in the first 2,000 fires from the year 2000.
        """
        return self._shortest_gap

    @cached_property
    def _shortest_gap(self) -> timedelta | None:
        found = [member.shortest_gap() for member in self.members]
        found += [_gap_between(one, other) for one, other in combinations(self.members, 2)]
        return min((gap for gap in found if gap), default=None)

    def __str__(self) -> str:
        return " or ".join(map(str, self.members))


def cron(expression: str, tz: str = "UTC") -> Cron:
    """`cron("0 2 * * *", "Europe/Berlin")`; raises InvalidSchedule for what cannot be read or can never fire."""
    return Cron(expression, tz)


def every(span: str | timedelta | None = None, *, anchor: datetime | str | None = None, **parts: float) -> Every:
    """`every("30s")`, `every(timedelta(hours=1))` or `every(hours=1)`, at least a second; raises InvalidSchedule.

    Its instants are multiples of the interval since the Unix epoch, or count from `anchor` in both directions.
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
    """`at("2026-12-01T02:00:00Z", datetime(..., tzinfo=UTC))`; raises InvalidSchedule for naive or malformed ones."""
    return At(tuple(map(_instant, instants)))


def any_of(*schedules: Schedule) -> Schedule:
    """Their union, the same in whatever order they are given; raises InvalidSchedule for none."""
    flat = {str(item): item for one in schedules for item in (one.members if isinstance(one, AnyOf) else (one,))}
    if not flat:
        raise InvalidSchedule("any_of() needs a schedule: cron(...), every(...) or at(...)")
    members = tuple(flat[text] for text in sorted(flat))
    return members[0] if len(members) == 1 else AnyOf(members)


def parse_schedule(
    *, cron: str | None = None, tz: str | None = None, every: str | None = None, at: Iterable[str] = ()
) -> Schedule:
    """The one schedule that command line flags name; raises InvalidSchedule."""
    instants = tuple(at)
    given = {"--cron": cron is not None, "--every": every is not None, "--at": bool(instants)}
    named = [flag for flag, there in given.items() if there]
    if tz is not None and cron is None:
        raise InvalidSchedule(f"--tz {tz} needs --cron: --every counts real time, and --at says its own offset")
    if len(named) != 1:
        said = f"{' and '.join(named)} together" if named else "no schedule"
        raise InvalidSchedule(f'{said}: give one of --cron "0 2 * * *", --every 30s, --at 2026-12-01T02:00:00Z')
    if cron is not None:
        return Cron(cron, "UTC" if tz is None else tz)
    return Every(parse_duration(every)) if every is not None else At(tuple(map(_instant, instants)))


def _instant(given: datetime | str) -> datetime:
    if isinstance(given, datetime):
        return aware(given)
    try:
        return parse_instant(given)
    except ValueError as error:
        why = error if "time zone" in str(error) else f"{given!r} is not an instant; write 2026-12-01T02:00:00Z"
        raise InvalidSchedule(str(why)) from error
    except (TypeError, AttributeError) as error:
        raise InvalidSchedule(f"{given!r} is not an instant; give a datetime or 2026-12-01T02:00:00Z") from error


def _gap_between(one: Schedule, other: Schedule) -> timedelta | None:
    """The shortest time from a fire of either schedule to another of either, not counting those that coincide."""
    if isinstance(one, Cron) and isinstance(other, Cron) and one.tz == other.tz:
        return shortest_gap(one.expression, other.expression)
    if isinstance(one, Every) and isinstance(other, Every):
        common = timedelta(milliseconds=gcd(one.interval // MILLISECOND, other.interval // MILLISECOND))
        apart = (one.offset - other.offset) % common
        return min(apart, common - apart) or common
    for single, rule in ((one, other), (other, one)):
        if isinstance(single, At):
            return min(filter(None, (_gap_around(instant, rule) for instant in single.instants)), default=None)
    fires, union = [WALK_FROM], AnyOf((one, other))
    while len(fires) <= WALK_FIRES and (following := union.next_after(fires[-1])):
        fires.append(following)
    return min((later - earlier for earlier, later in pairwise(fires[1:])), default=None)


def _gap_around(instant: datetime, rule: Schedule) -> timedelta | None:
    """From an instant to the nearest other one of a schedule, as far as that is below the schedule's own gap."""
    after = rule.next_after(instant)
    nearest = after - instant if after else None
    reach = min(filter(None, (nearest, rule.shortest_gap())), default=LONGEST)
    before = rule.next_after(max(instant - reach, WALK_FROM))
    while before and before < instant:
        nearest = instant - before
        before = rule.next_after(before)
    return nearest
