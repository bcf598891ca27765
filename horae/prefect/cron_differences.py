"""Where Prefect's cron engine fires differently than ours.

Prefect 3.8 (`prefect.server.schemas.schedules.CronSchedule`) walks the naive wall clock with croniter and reads each
result in the zone: what falls into a gap moves on by the gap's length, what falls into a fold fires in its first pass.
So it differs around a clock's jumps, and on whole days where croniter reads the fields differently. It schedules far
ahead; a walk that begins in the middle of a jump can differ from what is said here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from horae.schedules.expression import Expression, first_after, read
from horae.schedules.zones import Transition, transitions, zone

MINUTE = timedelta(minutes=1)
SHOWN = 3
"""Instants that a sentence lists of each side."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One occasion on which the engines disagree. `str()` of it is a sentence without a full stop."""

    at: datetime
    """The jump of the clock, or the first instant on which they disagree, in UTC."""
    ours: tuple[datetime, ...]
    """What Horae would fire and Prefect will not, in UTC."""
    theirs: tuple[datetime, ...]
    """What Prefect will fire and Horae would not, in UTC."""
    says: str

    def __str__(self) -> str:
        return self.says


def differences(expr: str, tz: str, start: datetime, end: datetime) -> list[Difference]:
    """Every occasion between two aware instants, in order; raises InvalidSchedule for what is no cron of ours.

    An expression that Prefect refuses is one difference; so are all the days on which the fields are read differently.
    """
    from croniter import CroniterBadCronError, croniter

    expression, place = read(expr), zone(tz)
    try:
        engine = croniter(expression.text, datetime(2000, 1, 1, tzinfo=UTC))
    except CroniterBadCronError as error:
        says = f"Prefect refuses {expr!r} ({error}), so it never fires there"
        return [Difference(at=start, ours=(), theirs=(), says=says)]
    first, last = start.astimezone(place).date(), end.astimezone(place).date()
    odd = _odd_days(expression, engine.expanded, first, last)
    found = list(_by_day(expression, engine.expanded, place, odd, start, end))
    for jump in transitions(place, start, end):
        edge = abs(jump.shift) + MINUTE
        days = {(jump.at + move).astimezone(place).date() for move in (-edge, timedelta(0), edge)}
        if not days & odd.keys():
            found += _around(expression, place, jump)
    return found


def prefect_fires(expr: str, tz: str, start: datetime, end: datetime) -> list[datetime]:
    """What Prefect's engine yields from `start` to `end`, both inclusive, in UTC; as `CronSchedule.get_dates` does."""
    from croniter import CroniterBadDateError, croniter

    place = zone(tz)
    begin = start.astimezone(place).replace(tzinfo=None, fold=0) - timedelta(seconds=1)
    if begin.microsecond:
        begin += timedelta(seconds=1)
    engine, found = croniter(expr, begin), set[datetime]()
    while True:
        try:
            wall: datetime = engine.get_next(datetime)
        except CroniterBadDateError:
            break
        fire = wall.replace(tzinfo=place).astimezone(UTC)
        if fire > end:
            break
        found.add(fire)
    return sorted(found)


def _around(expression: Expression, place: ZoneInfo, jump: Transition) -> Iterator[Difference]:
    """The difference at one jump of the clock, if there is one. A fold or gap reaches no further than its length."""
    edge = abs(jump.shift) + MINUTE
    start, end = jump.at - edge, jump.at + edge
    # Prefect stops at the first fire beyond the end, and a gap brings its fires out of order: end later, cut here.
    theirs = {fire for fire in prefect_fires(expression.text, place.key, start, end + edge) if start < fire <= end}
    ours = set(_ours(expression, place, start, end))
    if ours == theirs:
        return
    only_ours, only_theirs = tuple(sorted(ours - theirs)), tuple(sorted(theirs - ours))
    local = jump.at.astimezone(place)
    minutes = abs(jump.shift) // MINUTE
    length = f"{minutes // 60} h" if minutes and not minutes % 60 else f"{minutes} min"
    way = "forward" if jump.shift > timedelta(0) else "back"
    says = f"{local.date()} ({place.key}, clocks go {way} by {length}): "
    if only_ours and only_theirs:
        says += f"Prefect fires at {_times(only_theirs, place)} instead of {_times(only_ours, place)}"
    elif only_ours:
        says += f"Prefect does not fire at {_times(only_ours, place)}"
    else:
        says += f"Prefect also fires at {_times(only_theirs, place)}"
    yield Difference(at=jump.at, ours=only_ours, theirs=only_theirs, says=says)


def _ours(expression: Expression, place: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """After `start`, `end` included."""
    fire = first_after(expression, place, start)
    while fire and fire <= end:
        yield fire
        fire = first_after(expression, place, fire)


def _times(fires: tuple[datetime, ...], place: ZoneInfo) -> str:
    shown = ", ".join(fire.astimezone(place).isoformat(timespec="minutes")[11:] for fire in fires[:SHOWN])
    return shown + (f" and {len(fires) - SHOWN} more" if len(fires) > SHOWN else "")


def _odd_days(expression: Expression, expanded: list[Any], first: date, last: date) -> dict[date, tuple[bool, bool]]:
    """Local days on which the engines read the fields differently: does ours fire on them, does Prefect's."""
    ours = _our_days(expression, first, last)
    theirs = ours if expression.every_day else _their_days(expression, first, last)
    both = ours & theirs if _their_times(expanded) != expression.times else set()
    return {day: (day in ours, day in theirs) for day in sorted((ours ^ theirs) | both)}


def _our_days(expression: Expression, first: date, last: date) -> set[date]:
    found, day = set(), expression.next_day(first - timedelta(days=1))
    while day and day <= last:
        found.add(day)
        day = expression.next_day(day)
    return found


def _their_days(expression: Expression, first: date, last: date) -> set[date]:
    from croniter import CroniterBadDateError, croniter

    fields = " ".join(expression.text.split()[2:])
    engine, found = croniter(f"0 0 {fields}", datetime.combine(first, time()) - MINUTE), set[date]()
    try:
        while (day := engine.get_next(datetime).date()) <= last:
            found.add(day)
    except CroniterBadDateError:
        pass
    return found


def _their_times(expanded: list[Any]) -> tuple[int, ...]:
    minutes = range(60) if expanded[0] == ["*"] else expanded[0]
    hours = range(24) if expanded[1] == ["*"] else expanded[1]
    return tuple(sorted({hour * 60 + minute for hour in hours for minute in minutes}))


def _by_day(
    expression: Expression,
    expanded: list[Any],
    place: ZoneInfo,
    odd: dict[date, tuple[bool, bool]],
    start: datetime,
    end: datetime,
) -> Iterator[Difference]:
    """One difference for all the days that are odd in the same way, with the fires of the first of them."""
    kinds = ((False, True, "also fires"), (True, False, "does not fire"), (True, True, "fires at other times"))
    for fires_here, fires_there, what in kinds:
        days = [day for day, kind in odd.items() if kind == (fires_here, fires_there)]
        for day in days:
            begin, finish = (
                datetime.combine(day + timedelta(days=more), time(), place).astimezone(UTC) - timedelta(seconds=1)
                for more in (0, 1)
            )
            ours = set(_ours(expression, place, begin, finish)) if fires_here else set()
            theirs = set(prefect_fires(expression.text, place.key, begin, finish)) if fires_there else set()
            only = [fire for fire in sorted(ours ^ theirs) if start < fire <= end]
            if only:
                on = f"on {day}" if len(days) == 1 else f"on {len(days)} days, the first {day}"
                yield Difference(
                    at=only[0],
                    ours=tuple(fire for fire in only if fire in ours),
                    theirs=tuple(fire for fire in only if fire in theirs),
                    says=f"Prefect reads the fields of {expression.text!r} differently: it {what} {on}",
                )
                break
