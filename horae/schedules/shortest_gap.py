"""The shortest time between two fires of cron expressions, found by visiting the days on which they fire.

Times are wall-clock times, so a clock change in spring does not shorten a gap.
"""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import lru_cache
from itertools import pairwise

from horae.schedules.expression import CYCLE_YEARS, DAY, Expression, read

START = date(2000, 1, 1)
PAIRS_YEARS = 29
"""Within this many years every pair of adjacent years of the calendar occurs (first weekday, leap or not)."""
NEIGHBOURS = 365 * DAY
"""Two fires at most this many minutes apart are in the same year or in adjacent years."""


def shortest_gap(*texts: str) -> timedelta:
    """The shortest time between two fires of these expressions, taken as one schedule in one zone."""
    return _shortest(frozenset(texts))


@lru_cache(maxsize=1024)
def _shortest(texts: frozenset[str]) -> timedelta:
    expressions = tuple(read(text) for text in texts)
    gap = _walk(expressions, PAIRS_YEARS)
    if gap is None or gap > NEIGHBOURS:
        # The gap spans several years, so their order matters. It repeats after 400 years, and each 400 have a fire.
        gap = _walk(expressions, 2 * CYCLE_YEARS)
    assert gap is not None  # an expression that never fires cannot be read
    return timedelta(minutes=gap)


def _walk(expressions: tuple[Expression, ...], years: int) -> int | None:
    """The shortest gap in minutes within `years` from the year 2000; None if there are fewer than two fires."""
    all_times = _times(expressions)
    least = min(_gaps(all_times), default=DAY)
    least = min(least, DAY + all_times[0] - all_times[-1])  # no gap can be shorter
    shortest: int | None = None
    last: int | None = None
    times_of: dict[tuple[Expression, ...], tuple[int, ...]] = {}
    for day, firing in _days(expressions, START.replace(year=START.year + years)):
        found: list[int] = []
        if (times := times_of.get(firing)) is None:
            times = times_of[firing] = _times(firing)
            found += _gaps(times)
        if last is not None:
            found.append(day * DAY + times[0] - last)
        last = day * DAY + times[-1]
        shortest = min([*found, *([] if shortest is None else [shortest])], default=None)
        if shortest == least:
            break
    return shortest


def _days(expressions: tuple[Expression, ...], end: date) -> Iterator[tuple[int, tuple[Expression, ...]]]:
    """Each day before `end` on which an expression fires: the day's ordinal and the expressions that fire."""
    coming = {item: item.next_day(START - timedelta(days=1)) for item in expressions}
    while (day := min((one for one in coming.values() if one), default=end)) < end:
        firing = tuple(item for item in expressions if coming[item] == day)
        yield day.toordinal(), firing
        coming |= {item: item.next_day(day) for item in firing}


def _times(firing: tuple[Expression, ...]) -> tuple[int, ...]:
    """The minutes of the day at which any of these expressions fires."""
    return firing[0].times if len(firing) == 1 else tuple(sorted({time for item in firing for time in item.times}))


def _gaps(times: Iterable[int]) -> list[int]:
    return [later - earlier for earlier, later in pairwise(times)]
