"""Time zones from the pinned `tzdata` package. The host's zone files are not used, so all machines agree.

The zones are read from the package's files. `zoneinfo.reset_tzpath` would change the zones of every other library in
the process too. These zones cannot be pickled: pass the name instead.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

from horae.errors import InvalidSchedule, nearest

STRIDE = timedelta(hours=6)
"""No zone changes its offset twice within this time (closest known: eleven hours)."""


@cache
def _data() -> Path:
    spec = find_spec("tzdata")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("the package tzdata is not installed; install horae again, which installs it")
    return Path(spec.submodule_search_locations[0])


@cache
def zone_names() -> frozenset[str]:
    """The names of all IANA zones."""
    return frozenset((_data() / "zones").read_text().split())


@cache
def zone(name: str) -> ZoneInfo:
    """The IANA zone with this name. Raises InvalidSchedule with the nearest known name."""
    if name not in zone_names():
        raise InvalidSchedule(
            f"unknown time zone {name!r}{_hint(name)} Give an IANA name, such as Europe/Berlin or UTC"
        )
    with _data().joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


OFFSET = re.compile(r"(?:GMT|UTC|Z)?\s*([+-])\s*0?(\d{1,2})(?::?(\d\d))?", re.IGNORECASE)
ABBREVIATION = re.compile(r"[A-Z]{3,4}")


def _hint(name: str) -> str:
    """A guess at the intended zone for an unknown name, as the end of a sentence."""
    spelled = name.strip().replace(" ", "_").casefold()
    same = {known.casefold(): known for known in sorted(zone_names(), reverse=True)}
    cities = {known.rpartition("/")[2]: full for known, full in same.items()}
    if offset := OFFSET.fullmatch(name.strip()):
        sign, hours, minutes = offset[1], int(offset[2]), offset[3] or "00"
        # Etc/GMT names have the opposite sign (POSIX): Etc/GMT-2 is two hours ahead of UTC.
        etc = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"
        if minutes == "00" and etc in zone_names():
            way = "ahead of" if sign == "+" else "behind"
            return (
                f". It is an offset; {etc!r} is {hours} h {way} UTC all year. The name of a place includes its "
                "summer time."
            )
        return ". It is an offset; the name of a place includes its rules."
    if best := same.get(spelled) or cities.get(spelled):
        return f", did you mean {best!r}?"
    if ABBREVIATION.fullmatch(name.strip().upper()) and (places := _places(name.strip().upper())):
        return f". It is an abbreviation that is used in {', '.join(places)}; give the name of a place."
    best = same.get(nearest(spelled, same) or "")
    return f", did you mean {best!r}?" if best else "."


def _places(abbreviation: str) -> list[str]:
    """Up to three well-known zones that use this abbreviation in winter or summer."""
    shown = [
        name
        for name in sorted(zone_names(), key=lambda name: (name not in WELL_KNOWN, name))
        if "/" in name and abbreviation in {datetime(2026, month, 1, tzinfo=zone(name)).tzname() for month in (1, 7)}
    ]
    return shown[:3]


WELL_KNOWN = frozenset(
    (
        *("Europe/Berlin", "Europe/Paris", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago"),
        *("America/Denver", "America/Los_Angeles", "Asia/Kolkata", "Asia/Tokyo", "Asia/Shanghai", "Australia/Sydney"),
    )
)


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """How far the zone's wall clock is ahead of UTC at that instant."""
    return instant.astimezone(zone).utcoffset() or timedelta(0)


def offsets(wall: datetime, zone: ZoneInfo) -> tuple[timedelta, timedelta]:
    """The two possible offsets of a naive wall-clock time (PEP 495).

    Equal offsets: the time exists once. First larger: the time exists twice, first with the first offset, then with
    the second (a fold). First smaller: the time does not exist, because the clock jumps over it (a gap).
    """
    first, second = wall.replace(tzinfo=zone, fold=0).utcoffset(), wall.replace(tzinfo=zone, fold=1).utcoffset()
    return first or timedelta(0), second or timedelta(0)


def gap_end(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the clock jumps over `wall`, a wall-clock time that does not exist."""
    before, after = offsets(wall, zone)
    as_utc = wall.replace(tzinfo=UTC)
    return _change(zone, as_utc - after, as_utc - before)


def _change(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first whole second after `low`, at most `high`, whose offset differs from that of `low`."""
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
        """How far the clock jumps: positive is forward, negative is back."""
        return self.after - self.before


def transitions(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Transition]:
    """Every change of the zone's clock after `start` and up to `end` (inclusive), in order."""
    low = start.astimezone(UTC).replace(microsecond=0)
    before = offset_at(low, zone)
    while low < end:
        high = min(low + STRIDE, end)
        after = offset_at(high, zone)
        if after != before:
            yield Transition(at=_change(zone, low, high), before=before, after=after)
        low, before = high, after
