"""Lists the files of a place and selects those to delete."""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path

from horae.clock import monotonic, parse_instant
from internal._cleanup.settings import Place

DAY_SECONDS = 86_400.0
MIB = 1 << 20
BLOCK_BYTES = 512
HEAD_BYTES = 4096
RESULT = re.compile(rb'\{"metadata":\{.*?"expiration":(?:null|"(?P<at>[^"]+)")')


class OutOfTime(Exception):
    """The time of this run is over; some files were not checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A file in a place."""

    path: Path
    changed: float
    """Unix time."""
    disk_bytes: int
    """Bytes that deletion frees: 0 while another hard link exists."""
    expired: bool = False
    """Whether it is a Prefect result that has expired."""


def files(folder: Path, place: Place, now: float, deadline: float) -> Iterator[Found]:
    """The regular files below a folder. Links are not followed, and other file systems are not entered.

    Raises OutOfTime at the deadline (monotonic), OSError when a folder cannot be read.
    """
    device = folder.stat().st_dev

    def broken(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, followlinks=False, onerror=broken):
        folders[:] = [name for name in folders if os.lstat(os.path.join(root, name)).st_dev == device]
        for name in names:
            if monotonic() > deadline:
                raise OutOfTime
            if not fnmatchcase(name, place.names):
                continue
            path = Path(root, name)
            try:
                status = path.lstat()
                if not stat.S_ISREG(status.st_mode):
                    continue
                expired = place.kind == "results" and is_expired(path, now)
            except FileNotFoundError:
                continue  # another process deleted it
            if expired is None:
                continue
            freed = status.st_blocks * BLOCK_BYTES if status.st_nlink == 1 else 0
            yield Found(path=path, changed=status.st_mtime, disk_bytes=freed, expired=expired)


def is_expired(path: Path, now: float) -> bool | None:
    """Whether a Prefect result has expired; None for other files."""
    with path.open("rb") as file:
        found = RESULT.match(file.read(HEAD_BYTES))
    if found is None:
        return None
    if found["at"] is None:
        return False
    try:
        expires: datetime = parse_instant(found["at"].decode())
    except ValueError:
        return None
    return expires.timestamp() <= now


def doomed(found: Sequence[Found], place: Place, now: float, youngest_seconds: float) -> list[Found]:
    """The files to delete, oldest first: expired files, then too old files, then the oldest until the rest fits.

    The newest `keep` files and those younger than `youngest_seconds` stay.
    """
    ordered = sorted(found, key=lambda file: file.changed)
    kept = {file.path for file in ordered[len(ordered) - place.keep :]} if place.keep else set()
    may_go = [file for file in ordered if file.path not in kept and now - file.changed >= youngest_seconds]
    going = [file for file in may_go if file.expired or _too_old(file, place, now)]
    if place.most_mib is not None:
        gone = {file.path for file in going}
        total = sum(file.disk_bytes for file in ordered if file.path not in gone)
        for file in may_go:
            if total <= place.most_mib * MIB:
                break
            if file.path not in gone:
                going.append(file)
                total -= file.disk_bytes
    return sorted(going, key=lambda file: file.changed)


def _too_old(file: Found, place: Place, now: float) -> bool:
    return place.older_than_days is not None and now - file.changed > place.older_than_days * DAY_SECONDS
