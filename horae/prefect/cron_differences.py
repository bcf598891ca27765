"""Finds the times at which Prefect's cron engine and Horae's fire differently.

Prefect (`prefect.server.schemas.schedules.CronSchedule`) searches naive wall-clock times and then applies the zone. It
moves a time in a gap forward by the gap's length, and fires a time in a fold in the first pass. The engines differ
around clock changes, and on whole days if Prefect's engine reads the fields differently.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

from horae.prefect import cron_engine
from horae.schedules.expression import Expression, first_after, read
from horae.schedules.zones import Transition, transitions, zone

MINUTE = timedelta(minutes=1)
SHOWN = 3
"""The most instants of each engine that a sentence lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One occasion on which the engines differ. `str()` is a sentence without a full stop."""

    at: datetime
    """The clock change, or the first instant at which the engines differ, in UTC."""
    ours: tuple[datetime, ...]
    """The fires of Horae that Prefect does not have, in UTC."""
    theirs: tuple[datetime, ...]
    """The fires of Prefect that Horae does not have, in UTC."""
    says: str
    never: bool = False
    """Whether Prefect refuses the cron or never fires it."""

    def __str__(self) -> str:
        return self.says


def differences(expr: str, tz: str, start: datetime, end: datetime) -> list[Difference]:
    """Every difference between two aware instants, in order.

    An expression that Prefect refuses or never fires is one difference. All days on which the engines read the fields
    differently in the same way are one difference. Raises InvalidSchedule for a malformed cron, and NoEngine without
    Prefect.
    """
    expression, place = read(expr), zone(tz)
    if why := cron_engine.refusal(expr):
        says = f"Prefect refuses {expr!r} ({why}), so Prefect never fires it"
        return [Difference(at=start, ours=(), theirs=(), says=says, never=True)]
    if cron_engine.never_fires(expr, start.astimezone(place).replace(tzinfo=None, fold=0)):
        says = f"Prefect finds no date for {expr!r}, so Prefect never fires it"
        return [Difference(at=start, ours=(), theirs=(), says=says, never=True)]
    cron = _Cron(expression=expression, given=expr, place=place)
    first, last = start.astimezone(place).date(), end.astimezone(place).date()
    odd = _odd_days(cron, first, last)
    found = list(_by_day(cron, odd, start, end))
    for jump in transitions(place, start, end):
        edge = abs(jump.shift) + MINUTE
        days = {(jump.at + move).astimezone(place).date() for move in (-edge, timedelta(0), edge)}
        if not days & odd.keys():
            found += _around(cron, jump)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cron:
    """One cron in one zone: parsed by Horae, and as the given text, which Prefect parses."""

    expression: Expression
    given: str
    place: ZoneInfo


def _around(cron: _Cron, jump: Transition) -> Iterator[Difference]:
    """The difference at one clock change, if there is one. A fold or gap extends no further than its length."""
    place, edge = cron.place, abs(jump.shift) + MINUTE
    start, end = jump.at - edge, jump.at + edge
    # Prefect stops at the first fire after the end, and a gap puts its fires out of order: ask for more and cut here.
    listed = cron_engine.fires(cron.given, place.key, start, end + edge)
    theirs = {fire for fire in listed if start < fire <= end}
    ours = set(_ours(cron, start, end))
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


def _ours(cron: _Cron, start: datetime, end: datetime) -> Iterator[datetime]:
    """Horae's fires after `start` and up to `end` (inclusive)."""
    fire = first_after(cron.expression, cron.place, start)
    while fire and fire <= end:
        yield fire
        fire = first_after(cron.expression, cron.place, fire)


def _times(fires: tuple[datetime, ...], place: ZoneInfo) -> str:
    shown = ", ".join(fire.astimezone(place).isoformat(timespec="minutes")[11:] for fire in fires[:SHOWN])
    return shown + (f" and {len(fires) - SHOWN} more" if len(fires) > SHOWN else "")


def _odd_days(cron: _Cron, first: date, last: date) -> dict[date, tuple[bool, bool]]:
    """Local days on which the engines read the fields differently: (Horae fires, Prefect fires)."""
    ours, theirs = _our_days(cron.expression, first, last), _their_days(cron.given, first, last)
    both = ours & theirs if _their_times(cron.given) != cron.expression.times else set()
    return {day: (day in ours, day in theirs) for day in sorted((ours ^ theirs) | both)}


def _our_days(expression: Expression, first: date, last: date) -> set[date]:
    found, day = set(), expression.next_day(first - timedelta(days=1))
    while day and day <= last:
        found.add(day)
        day = expression.next_day(day)
    return found


def _their_days(given: str, first: date, last: date) -> set[date]:
    fields = given.split()
    # A macro is one field. Macros fire at midnight, except `@hourly`, which fires on all days.
    text = f"0 0 {' '.join(fields[2:])}" if len(fields) > 1 else "@daily" if fields == ["@hourly"] else given
    walls = cron_engine.walk(text, datetime.combine(first, time()) - MINUTE)
    return {wall.date() for wall in takewhile(lambda wall: wall.date() <= last, walls)}


def _their_times(given: str) -> tuple[int, ...]:
    fields = cron_engine.expanded(given)
    minutes = range(60) if "*" in fields[0] else fields[0]
    hours = range(24) if "*" in fields[1] else fields[1]
    return tuple(sorted({hour * 60 + minute for hour in hours for minute in minutes}))


def _by_day(cron: _Cron, odd: dict[date, tuple[bool, bool]], start: datetime, end: datetime) -> Iterator[Difference]:
    """One difference for all days that differ in the same way, with the fires of the first such day."""
    kinds = ((False, True, "also fires"), (True, False, "does not fire"), (True, True, "fires at other times"))
    for fires_here, fires_there, what in kinds:
        days = [day for day, kind in odd.items() if kind == (fires_here, fires_there)]
        for day in days:
            begin, finish = (
                datetime.combine(day + timedelta(days=more), time(), cron.place).astimezone(UTC) - timedelta(seconds=1)
                for more in (0, 1)
            )
            ours = set(_ours(cron, begin, finish)) if fires_here else set()
            theirs = set(cron_engine.fires(cron.given, cron.place.key, begin, finish)) if fires_there else set()
            only = [fire for fire in sorted(ours ^ theirs) if start < fire <= end]
            if only:
                on = f"on {day}" if len(days) == 1 else f"on {len(days)} days, the first {day}"
                yield Difference(
                    at=only[0],
                    ours=tuple(fire for fire in only if fire in ours),
                    theirs=tuple(fire for fire in only if fire in theirs),
                    says=f"Prefect reads the fields of {cron.given!r} differently: it {what} {on}",
                )
                break
