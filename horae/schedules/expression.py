"""Cron expressions: Debian's fields (`horae.schedules.fields`) and Debian's rule for clock changes.

If both day fields are restricted, a day that matches either one fires. If one begins with `*`, both must match.

Horae implements the search itself. The package cronsim follows the same rule, but version 2.8 returns past instants
when it starts in a fold, and its hourly steps lose fires where a clock changes by half an hour.
"""

import re
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, cached_property, lru_cache
from zoneinfo import ZoneInfo

from horae.errors import InvalidSchedule
from horae.schedules import fields
from horae.schedules.fields import FIELDS, FORMS, HOUR, MINUTE, MONTH, DayRule, Field, Refused
from horae.schedules.zones import gap_end, offsets

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
DAY = 24 * 60
"""Minutes."""
CYCLE_YEARS = 400
"""The Gregorian calendar, with its weekdays, repeats after this many years."""


@cache
def _months_by_shape() -> dict[tuple[int, int], tuple[int, int]]:
    """An example (year, month) for each of the 28 shapes of a month: (weekday of the first, Monday is 0; length)."""
    return {monthrange(year, month): (year, month) for year in range(2000, 2028) for month in range(1, 13)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Expression:
    """A parsed cron expression. It has wall-clock times only; `first_after` applies a zone."""

    text: str
    """Canonical: upper case, single spaces, macros written out."""
    times: tuple[int, ...]
    """Minutes of the day, ascending."""
    months: frozenset[int]
    follows_real_time: bool
    """Whether the minute or the hour field begins with `*`."""
    every_day: bool
    """Whether the day of month, month and day of week fields are all `*`."""
    _falls_on: DayRule
    _days: dict[tuple[int, int], tuple[int, ...]] = field(default_factory=dict)

    def days(self, shape: tuple[int, int]) -> tuple[int, ...]:
        """The days of the month on which it fires, in a month of this shape that its month field includes."""
        found = self._days.get(shape)
        if found is None:
            year, month = _months_by_shape()[shape]
            listed = range(1, shape[1] + 1)
            found = tuple(day for day in listed if self.every_day or self._falls_on(date(year, month, day)))
            self._days[shape] = found
        return found

    def next_day(self, day: date) -> date | None:
        """The first day strictly after `day` on which it fires; None if it does not fire within 400 years."""
        year, month, after = day.year, day.month, day.day
        last = min(year + CYCLE_YEARS, date.max.year)
        while year <= last:
            if month in self.months:
                for candidate in self.days(monthrange(year, month)):
                    if candidate > after:
                        return date(year, month, candidate)
            after = 0
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)
        return None

    def next_wall(self, after: datetime) -> datetime | None:
        """The first matching wall-clock minute (naive) after the minute of `after`; None if there is none."""
        day: date | None = after.date()
        if after.month in self.months and after.day in self.days(monthrange(after.year, after.month)):
            place = bisect_right(self.times, after.hour * 60 + after.minute)
            if place < len(self.times):
                return datetime.combine(after, time(*divmod(self.times[place], 60)))
        day = self.next_day(after.date())
        return datetime.combine(day, self.first_time) if day else None

    @cached_property
    def first_time(self) -> time:
        return time(*divmod(self.times[0], 60))


@lru_cache(maxsize=1024)
def read(text: str) -> Expression:
    """Parse an expression. Raises InvalidSchedule if it is malformed or never fires."""
    parts = _parts(text)
    minutes = _field(text, MINUTE, parts[0], fields.numbers)
    hours = _field(text, HOUR, parts[1], fields.numbers)
    expression = Expression(
        text=" ".join(parts),
        times=tuple(hour * 60 + minute for hour in sorted(hours) for minute in sorted(minutes)),
        months=_field(text, MONTH, parts[3], fields.numbers),
        follows_real_time=parts[0].startswith("*") or parts[1].startswith("*"),
        every_day=parts[2:] == ["*", "*", "*"],
        _falls_on=_day_rule(text, parts[2], parts[4]),
    )
    if expression.next_day(date(1999, 12, 31)) is None:
        raise InvalidSchedule(f"cron {text!r} can never fire: no year has such a day")
    return expression


def _field[T](text: str, kind: Field, part: str, reader: Callable[..., T]) -> T:
    try:
        return reader(kind, part) if reader is fields.numbers else reader(part)
    except Refused as error:
        why = f" ({error})" if str(error) else ""
        raise InvalidSchedule(
            f"cron {text!r}: {kind.name} {part!r} cannot be read{why}; give {kind.allowed}, {FORMS}"
        ) from error


def _day_rule(text: str, of_month: str, of_week: str) -> DayRule:
    """Debian's rule: if a day field begins with `*`, both fields must match; otherwise either one suffices."""
    month_day = _field(text, fields.DAY, of_month, fields.days_of_month)
    week_day = _field(text, fields.WEEKDAY, of_week, fields.days_of_week)
    if of_month.startswith("*") or of_week.startswith("*"):
        return lambda day: month_day(day) and week_day(day)
    return lambda day: month_day(day) or week_day(day)


def _parts(text: str) -> list[str]:
    """The five fields, each in canonical spelling."""
    stripped = text.strip()
    if stripped.startswith("@"):
        stripped = _macro(text, stripped.lower())
    parts = stripped.split()
    if len(parts) > 5:
        raise InvalidSchedule(_too_many(text, parts))
    if len(parts) != 5:
        raise InvalidSchedule(
            f"cron {text!r} has {len(parts)} field{'s' * (len(parts) != 1)}; write five: "
            'minute, hour, day of month, month, day of week, such as "0 2 * * *"'
        )
    return [fields.spelled(kind, part) for kind, part in zip(FIELDS, parts, strict=True)]


def _macro(text: str, name: str) -> str:
    if name == "@reboot":
        raise InvalidSchedule("@reboot is not a schedule; give the job run_on_start=True")
    if name.startswith("@every"):
        span = name.removeprefix("@every").strip() or "5m"
        raise InvalidSchedule(f'cron {text!r} is an interval, not a cron; write every("{span}"), or --every {span}')
    if name not in MACROS:
        raise InvalidSchedule(f"cron {text!r} is not one of {', '.join(MACROS)}")
    return MACROS[name]


CRON_FIELD = re.compile(r"[0-9*?,/#LW-]+|[A-Z]{3}(?:[,-][A-Z]{3})*", re.IGNORECASE)


def _too_many(text: str, parts: list[str]) -> str:
    """The message for more than five fields. It guesses whether the extra ones are seconds, a year or a command."""
    if len(parts) <= 7 and all(map(CRON_FIELD.fullmatch, parts)):
        return (
            f"cron {text!r} has {len(parts)} fields. Cron has no fields for seconds and years. Write five fields "
            '(minute, hour, day of month, month, day of week), or every("30s") for less than a minute'
        )
    return (
        f"cron {text!r} has more than five fields; remove {' '.join(parts[5:])!r}. A schedule has no command and no "
        'user. Give a time zone separately, as in cron("0 2 * * *", "Europe/Berlin")'
    )


def first_after(expression: Expression, zone: ZoneInfo, instant: datetime) -> datetime | None:
    """The first fire strictly after an aware instant, in UTC; None after the year 9999.

    An expression that follows real time fires each time the clock shows one of its times: not in a gap, and twice in a
    fold. Any other expression fires once for each of its times. A time in a gap fires at the end of the gap; a time in
    a fold fires in the first pass.
    """
    try:
        wall = instant.astimezone(zone).replace(tzinfo=None, fold=0)
        if expression.follows_real_time:
            return _by_real_time(expression, zone, instant.astimezone(UTC), wall)
        return _by_the_wall(expression, zone, instant, wall)
    except OverflowError:
        return None


def _by_the_wall(expression: Expression, zone: ZoneInfo, instant: datetime, wall: datetime) -> datetime | None:
    following = expression.next_wall(wall)
    while following:
        before, after = offsets(following, zone)
        fire = gap_end(following, zone) if before < after else (following - before).replace(tzinfo=UTC)
        if fire > instant:  # in the second pass of a fold, later wall-clock times may have fired in the first pass
            return fire
        following = expression.next_wall(following)
    return None


def _by_real_time(expression: Expression, zone: ZoneInfo, instant: datetime, wall: datetime) -> datetime | None:
    again = _again(expression, zone, instant, wall)
    following = expression.next_wall(wall)
    while following:
        before, after = offsets(following, zone)
        if before < after:  # a gap: no clock shows this time, so continue at its end
            landing = (gap_end(following, zone) + after).replace(tzinfo=None)
            following = expression.next_wall(landing - timedelta(microseconds=1))
            continue
        for offset in (before, after):
            fire = (following - offset).replace(tzinfo=UTC)
            if fire > instant:
                return min(fire, again) if again else fire
        following = expression.next_wall(following)
    return again


def _again(expression: Expression, zone: ZoneInfo, instant: datetime, wall: datetime) -> datetime | None:
    """In the first pass of a fold: the first matching time of the second pass."""
    before, after = offsets(wall, zone)
    if before <= after or (wall - before).replace(tzinfo=UTC) != instant:
        return None
    shown = expression.next_wall(wall - (before - after) - timedelta(minutes=1))
    while shown and shown <= wall:
        if offsets(shown, zone) == (before, after):
            return (shown - after).replace(tzinfo=UTC)
        shown = expression.next_wall(shown)
    return None
