"""Prefect's own cron engine, loaded from the source in the installed Prefect without importing Prefect.

Prefect contains its own copy of croniter, which behaves differently from the package croniter. `import prefect` takes
seconds; loading only the engine takes a tenth of a second.
"""

import importlib.util
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from heapq import merge
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

from horae.errors import HoraeError
from horae.schedules.zones import transitions, zone

FILE = Path("_vendor/croniter/croniter.py")
MODULE = "horae_prefect_croniter"
"""The module name for the loaded source. It differs from Prefect's, so a later `import prefect` loads its own copy."""
LOOK_BACK = timedelta(days=2)
"""Longer than any clock change."""


class NoEngine(HoraeError):
    """Prefect's cron engine is not installed here, or is not at its known path."""


@cache
def module() -> ModuleType:
    """The vendored croniter; raises NoEngine."""
    found = importlib.util.find_spec("prefect")
    folders = list(found.submodule_search_locations or ()) if found else []
    path = next((Path(folder) / FILE for folder in folders if (Path(folder) / FILE).is_file()), None)
    if path is None:
        where = f"{folders[0]} has no {FILE.as_posix()}" if folders else "Prefect is not installed"
        raise NoEngine(f"{where}, so Horae cannot compute when Prefect fires a cron; install horae[prefect]")
    spec = importlib.util.spec_from_file_location(MODULE, path)
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[MODULE] = loaded
    try:
        spec.loader.exec_module(loaded)
    except ImportError as error:
        del sys.modules[MODULE]
        raise NoEngine(f"Prefect's cron engine cannot be loaded: {error}; install horae[prefect]") from error
    return loaded


def refusal(expr: str) -> str:
    """Why Prefect refuses a cron expression; empty if it accepts it."""
    croniter = module().croniter
    try:
        croniter(expr)
    except ValueError as error:
        return str(error)
    if not croniter.is_valid(expr):
        return "it is invalid"
    if any(part.casefold() in {"r", "h"} for part in expr.split()):
        return "Prefect does not support random and hashed expressions"
    return ""


def never_fires(expr: str, after: datetime) -> bool:
    """Whether the engine finds no fire after a naive wall-clock time.

    Prefect's scheduler then gets an error instead of instants each time.
    """
    return next(walk(expr, after), None) is None


def walk(expr: str, after: datetime, *, day_or: bool = True) -> Iterator[datetime]:
    """Wall-clock times (naive) strictly after `after`, until the engine finds no more."""
    engine = module()
    iterator = engine.croniter(expr, after, day_or=day_or)
    while True:
        try:
            wall: datetime = iterator.get_next(datetime)
        except engine.CroniterBadDateError:
            return
        yield wall


def expanded(expr: str) -> list[list[Any]]:
    """The five fields as the engine parses them: lists of numbers; `*` stands for all values."""
    fields: list[list[Any]] = module().croniter(expr).expanded
    return fields


def fires(expr: str, tz: str, start: datetime, end: datetime, *, day_or: bool = True) -> list[datetime]:
    """Prefect's fires from `start` to `end`, both inclusive, in UTC, as its `CronSchedule.get_dates` returns them.

    A time in a gap moves forward by the gap's length; a time in a fold fires in the first pass. One call of Prefect
    returns at most 1,000; its scheduler calls repeatedly, so this function has no limit.
    """
    place = zone(tz)
    wall = start.astimezone(place).replace(tzinfo=None, fold=0) - timedelta(seconds=0 if start.microsecond else 1)
    candidates: Iterator[datetime] = (_instant(one, place) for one in walk(expr, wall, day_or=day_or))
    jump = max(transitions(place, start - LOOK_BACK, start), key=lambda one: one.at, default=None)
    if jump and start - jump.at < abs(jump.shift):
        after = jump.at.astimezone(place).replace(tzinfo=None, fold=0)
        if jump.shift < timedelta(0):
            beyond = after - jump.shift - timedelta(seconds=1)
            candidates = (_instant(one, place) for one in walk(expr, beyond, day_or=day_or))
        else:
            before = walk(expr, wall - jump.shift, day_or=day_or)
            shifted = [_instant(one, place) for one in takewhile(lambda one: one < after, before)]
            candidates = merge(shifted, candidates)
    found = set[datetime]()
    for fire in candidates:
        if fire > end:
            break
        if fire >= start:
            found.add(fire)
    return sorted(found)


def _instant(wall: datetime, place: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=place, fold=0).astimezone(UTC)
