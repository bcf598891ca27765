"""Time zones from the pinned `tzdata` package, whatever the host has installed, so that all machines agree.

The zones are read from the package's files instead of by `zoneinfo.reset_tzpath`, which would change every other
library in the process too. They cannot be pickled: pass the name.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

from horae.errors import InvalidSchedule, nearest

STRIDE = timedelta(hours=6)
"""No zone changes its offset twice in less (closest known: eleven hours)."""


@cache
def _data() -> Path:
    spec = find_spec("tzdata")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package tzdata is not installed; Horae's own installation brings it")
    return Path(spec.submodule_search_locations[0])


@cache
def zone_names() -> frozenset[str]:
    """Every IANA zone that there is."""
    return frozenset((_data() / "zones").read_text().split())


@cache
def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name; raises InvalidSchedule with the nearest right name."""
    if name not in zone_names():
        spelled = name.strip().replace(" ", "_").casefold()
        same = {known.casefold(): known for known in sorted(zone_names(), reverse=True)}
        cities = {known.rpartition("/")[2]: full for known, full in same.items()}
        best = same.get(spelled) or cities.get(spelled) or same.get(nearest(spelled, same) or "")
        hint = f", did you mean {best!r}?" if best else "."
        raise InvalidSchedule(f"unknown time zone {name!r}{hint} Give an IANA name, such as Europe/Berlin or UTC")
    with _data().joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's wall clock is ahead of UTC at that instant."""
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """The offsets by which a naive wall-clock time may be read (PEP 495).

    Equal: it exists once. Falling: it exists twice, first by the one, then by the other (a fold). Rising: it does not
    exist, the clock jumps over it from the one to the other (a gap).
    """
    first, second = wall.replace(tzinfo=zone, fold=0).utcoffset(), wall.replace(tzinfo=zone, fold=1).utcoffset()
    return first or timedelta(0), second or timedelta(0)


def gap_end(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant at which the clock jumps over a wall-clock time that does not exist, in UTC."""
    before, after = offsets(wall, zone)
    as_utc = wall.replace(tzinfo=UTC)
    return _change(zone, as_utc - after, as_utc - before)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second after `low`, `high` at the latest, that no longer has the offset of `low`."""
    before = offset_at(low, zone)
    short, far = 0, int((high - low).total_seconds())
    while far - short > 1:
        middle = (short + far) // 2
        if offset_at(low + timedelta(seconds=middle), zone) == before:
            short = middle
        else:
            far = middle
    return low + timedelta(seconds=far)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """An instant at which a zone's clock jumps."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def shift(self) -> timedelta:
        """How far the clock jumps: forward above zero, back below."""
        return self.after - self.before


def transitions(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Transition]:
    """Every jump of the zone's clock after `start`, `end` included, in order."""
    low = start.astimezone(UTC).replace(microsecond=0)
    before = offset_at(low, zone)
    while low < end:
        high = min(low + STRIDE, end)
        after = offset_at(high, zone)
        if after != before:
            yield Transition(at=_change(zone, low, high), before=before, after=after)
        low, before = high, after
