"""The kinds of schedule: cron, interval, instants, and their union. They are pure and read no clock."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import combinations, pairwise
from math import gcd
from typing import Protocol, runtime_checkable

from horae.clock import EPOCH, in_utc, isoformat
from horae.errors import InvalidSchedule
from horae.schedules.durations import MILLISECOND, format_duration
from horae.schedules.expression import first_after, read
from horae.schedules.shortest_gap import shortest_gap
from horae.schedules.zones import zone

SHORTEST, LONGEST = timedelta(seconds=1), timedelta(days=36_525)
WALK_FROM, WALK_FIRES = datetime(2000, 1, 1, tzinfo=UTC), 2000


@runtime_checkable
class Schedule(Protocol):
    """A rule for fire times. `str()` is canonical: schedules with equal text have equal fires."""

    def next_after(self, now: datetime) -> datetime | None:
        """The first fire strictly after `now` (aware), in UTC; None if there is none."""

    def shortest_gap(self) -> timedelta | None:
        """The shortest time between two fires; None if it fires at most once."""


def aware(instant: datetime) -> datetime:
    """The same instant in UTC; raises InvalidSchedule for a naive datetime, or a year below 1 or above 9999."""
    if instant.tzinfo is None:
        raise InvalidSchedule(f"{instant.isoformat()} has no time zone; give datetime(..., tzinfo=UTC) or ...Z")
    try:
        return in_utc(instant)
    except ValueError as error:
        raise InvalidSchedule(str(error)) from error


@dataclass(frozen=True)
class Cron:
    """A cron expression in an IANA zone; see `horae.schedules.expression` for the dialect. Made by `cron(...)`."""

    expression: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        if not all(isinstance(text, str) for text in (self.expression, self.tz)):
            raise InvalidSchedule(f'cron({self.expression!r}, {self.tz!r}): give two texts, such as "0 2 * * *", "UTC"')
        zone(self.tz)
        object.__setattr__(self, "expression", read(self.expression).text)

    def next_after(self, now: datetime) -> datetime | None:
        return first_after(read(self.expression), zone(self.tz), aware(now))

    def shortest_gap(self) -> timedelta:
        """Measured on the wall clock, so a clock change in spring does not shorten the gap."""
        return shortest_gap(self.expression)

    def __str__(self) -> str:
        return f"cron {self.expression} {self.tz}"


def wall_zone(schedule: Schedule | None) -> str | None:
    """The zone whose wall clock a schedule follows; None if it follows none or several."""
    if isinstance(schedule, Cron):
        return schedule.tz
    if isinstance(schedule, AnyOf):
        zones = {wall_zone(member) for member in schedule.members}
        return zones.pop() if len(zones) == 1 else None
    return None


@dataclass(frozen=True)
class Every:
    """Fires at a fixed interval of real time, at the same instants on all machines. Made by `every(...)`."""

    interval: timedelta
    offset: timedelta = timedelta(0)
    """Offset from the multiples of the interval since the Unix epoch; less than the interval."""

    def __post_init__(self) -> None:
        if not SHORTEST <= self.interval <= LONGEST:
            raise InvalidSchedule(
                f"every {format_duration(self.interval)}: give an interval of one second to a hundred years"
            )
        if self.interval % MILLISECOND or self.offset % MILLISECOND:
            raise InvalidSchedule(f"every {self.interval}: an interval must be in whole milliseconds; round it")
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
    """Fires once at each of these instants, in ascending order. Made by `at(...)`."""

    instants: tuple[datetime, ...]

    def __post_init__(self) -> None:
        if not self.instants:
            raise InvalidSchedule("at() needs an instant, such as 2026-12-01T02:00:00Z")
        found = tuple(sorted({aware(instant) for instant in self.instants}))
        for instant in found:
            if instant.microsecond % 1000:
                raise InvalidSchedule(f"{isoformat(instant)} is not in whole milliseconds; round it")
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
    """Fires when any of its schedules fires, and once if several fire together. Made by `any_of(...)`."""

    members: tuple[Schedule, ...]

    def next_after(self, now: datetime) -> datetime | None:
        found = [member.next_after(now) for member in self.members]
        return min((instant for instant in found if instant), default=None)

    def shortest_gap(self) -> timedelta | None:
        """Exact for crons of one zone, for intervals, and for single instants.

        For other mixtures (crons of two zones, a cron and an interval) it is the shortest gap among the first 2,000
        fires from the year 2000.
        """
        return self._shortest_gap

    @cached_property
    def _shortest_gap(self) -> timedelta | None:
        found = [member.shortest_gap() for member in self.members]
        found += [_gap_between(one, other) for one, other in combinations(self.members, 2)]
        return min((gap for gap in found if gap), default=None)

    def __str__(self) -> str:
        return " or ".join(map(str, self.members))


def _gap_between(one: Schedule, other: Schedule) -> timedelta | None:
    """The shortest time between two fires of the union. Fires at the same instant count as one."""
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
    """The time from an instant to the nearest fire of a schedule, if it is less than the schedule's own gap."""
    after = rule.next_after(instant)
    nearest = after - instant if after else None
    reach = min(filter(None, (nearest, rule.shortest_gap())), default=LONGEST)
    before = rule.next_after(max(instant - reach, WALK_FROM))
    while before and before < instant:
        nearest = instant - before
        before = rule.next_after(before)
    return nearest
