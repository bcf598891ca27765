"""The shortest time between two fires of cron expressions, computed from their fields.

A day has its times, a month is days, a year is months, and 400 years are all years there are: the calendar repeats.
Only 28 shapes of months and 14 of years exist, so whole spans of them are joined instead of walking fires. Times are
those on the wall clock: that a day in spring lacks an hour is not counted.
"""

from calendar import isleap, monthrange
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, lru_cache
from itertools import pairwise

from horae.schedules.expression import CYCLE_YEARS, DAY, Expression, read

CYCLE = 146_097 * DAY
"""Minutes in 400 years."""


@dataclass(frozen=True, slots=True)
class Span:
    """The fires in a stretch of time, in minutes from its beginning."""

    first: int
    last: int
    gap: int
    """The shortest between two of them; `CYCLE` when there is only one."""


def join(parts: Iterable[tuple[int, Span | None]]) -> Span | None:
    """One span out of spans that begin at ascending minutes; None when none of them has a fire."""
    first = last = None
    gap = CYCLE
    for start, part in parts:
        if part is None:
            continue
        if last is not None:
            gap = min(gap, start + part.first - last)
        else:
            first = start + part.first
        gap = min(gap, part.gap)
        last = start + part.last
    return None if first is None or last is None else Span(first, last, gap)


@cache
def _years() -> tuple[tuple[int, tuple[int, bool]], ...]:
    """Of each year in the cycle the minute that it begins at, and its shape: first weekday, leap or not."""
    begin = date(2000, 1, 1).toordinal()
    firsts = [(date(year, 1, 1), isleap(year)) for year in range(2000, 2000 + CYCLE_YEARS)]
    return tuple(((first.toordinal() - begin) * DAY, (first.weekday(), leap)) for first, leap in firsts)


def shortest_gap(*texts: str) -> timedelta:
    """The shortest time between two fires of these expressions, taken as one schedule in one zone."""
    return _shortest(frozenset(texts))


@lru_cache(maxsize=1024)
def _shortest(texts: frozenset[str]) -> timedelta:
    expressions = tuple(read(text) for text in sorted(texts))
    if all(expression.every_day for expression in expressions):
        found = _day(expressions)
        cycle: Span | None = Span(found.first, found.last, min(found.gap, DAY + found.first - found.last))
    else:
        cycle = _cycle(expressions)
    assert cycle is not None  # an expression that never fires cannot be read
    return timedelta(minutes=min(cycle.gap, cycle.first + CYCLE - cycle.last))


def _cycle(expressions: tuple[Expression, ...]) -> Span | None:
    @cache
    def day(firing: tuple[Expression, ...]) -> Span | None:
        return _day(firing) if firing else None

    @cache
    def month(shape: tuple[int, int], own: tuple[Expression, ...]) -> Span | None:
        firing: dict[int, tuple[Expression, ...]] = {}
        for expression in own:
            for number in expression.days(shape):
                firing[number] = (*firing.get(number, ()), expression)
        return join((number * DAY, day(firing[number])) for number in sorted(firing))

    own = [tuple(item for item in expressions if number in item.months) for number in range(13)]

    @cache
    def year(shape: tuple[int, bool]) -> Span | None:
        weekday, leap = shape
        example = next(number for number in range(2000, 2028) if _shape(number) == (weekday, leap))
        parts, start = [], 0
        for number in range(1, 13):
            found = monthrange(example, number)
            if own[number]:
                parts.append((start, month(found, own[number])))
            start += found[1] * DAY
        return join(parts)

    return join((start, year(shape)) for start, shape in _years())


def _shape(year: int) -> tuple[int, bool]:
    return date(year, 1, 1).weekday(), isleap(year)


def _day(firing: tuple[Expression, ...]) -> Span:
    """The times of a day on which all of these fire."""
    times = firing[0].times if len(firing) == 1 else tuple(sorted({time for item in firing for time in item.times}))
    gap = min((later - earlier for earlier, later in pairwise(times)), default=CYCLE)
    return Span(times[0], times[-1], gap)
