"""Reads one file from an offset on, entry by entry."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import BinaryIO

from horae import clock
from infra._logs import formats
from infra._logs.following import Part
from infra._logs.grouping import Group, Grouper
from infra._logs.marks import PACKED
from infra._logs.settings import LogSettings

CHUNK = 1 << 16


@dataclass(kw_only=True, slots=True)
class Progress:
    """How far the reading came. The next run continues at `offset`. An unfinished entry lies after it."""

    offset: int
    unread: int = 0
    """Bytes after the offset that the limits left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    bytes: int
    until: float
    """By the monotonic clock."""


def entries(
    file: BinaryIO, part: Part, settings: LogSettings, zone: tzinfo, now: datetime, limits: Limits, progress: Progress
) -> Iterator[Group]:
    """Yield the finished entries of the open file in order; raises OSError. Updates `progress`."""
    written_at = datetime.fromtimestamp(part.status.st_mtime, UTC)
    quiet = now - written_at >= timedelta(seconds=settings.quiet_seconds)
    near = max(written_at, now - timedelta(days=36_500))
    grouper = Grouper(lambda line: formats.read(line, zone, near), settings.entry_limit_bytes)
    stopped = False
    at = part.offset
    file.seek(at)
    for line, size, cut, whole in _lines(file, settings.entry_limit_bytes):
        if at - part.offset >= limits.bytes or clock.monotonic() >= limits.until:
            stopped = True
            break
        if group := grouper.feed(at, line, size, cut=cut, whole=whole):
            yield group
        at += size
    last = grouper.pending
    if last is None:
        progress.offset = at
    elif (not stopped and (quiet or not last.may_grow)) or (stopped and last.offset == part.offset):
        yield last
        progress.offset = at
    else:
        progress.offset = last.offset
    if stopped and not part.path.name.endswith(PACKED):
        progress.unread = max(0, part.status.st_size - progress.offset)


def _lines(file: BinaryIO, limit: int) -> Iterator[tuple[str, int, bool, bool]]:
    """Each line without its newline, its size in bytes with it, whether it was cut, and whether it had a newline."""
    try:
        while line := file.readline(limit):
            size, whole = len(line), line.endswith(b"\n")
            cut = not whole and size == limit
            if cut:
                while rest := file.readline(CHUNK):
                    size += len(rest)
                    if rest.endswith(b"\n"):
                        whole = True
                        break
            yield line.decode(errors="replace").rstrip("\r\n").removeprefix("\N{BOM}"), size, cut, whole
    except (EOFError, lzma.LZMAError) as error:
        raise OSError(f"it is packed and cannot be unpacked: {error}") from error
