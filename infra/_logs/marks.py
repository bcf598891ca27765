"""Remembers how far a file was read, and recognises the file later.

The name is not enough, because rotation changes it. The inode is not enough, because a new file may get the inode of a
deleted one, and copytruncate keeps it. So a mark also holds bytes of the file: its beginning, and the bytes before the
offset. Reading continues from a mark only if the same bytes are in the same place. This also works for files of a few
bytes.
"""

import base64
import bz2
import gzip
import lzma
import mmap
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

SAMPLE = 1024
"""Bytes at the beginning, and before the offset, that must be the same."""
LEAST = 64
"""Bytes that are enough to find the place again in a file that lost its beginning."""
PACKED = (".gz", ".bz2", ".xz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    path: str
    """Where the file was last seen."""
    device: int
    inode: int
    offset: int
    """Bytes that are read, counted unpacked."""
    head: str
    """The first `SAMPLE` bytes, or all before the offset where they are fewer, as base64."""
    tail: str
    """The last `SAMPLE` bytes before the offset, or fewer, as base64."""
    last_at: str | None = None
    """The time of the last entry, for those that follow without one."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def is_of(self, status: os.stat_result) -> bool:
        return (self.device, self.inode) == (status.st_dev, status.st_ino)


class Content:
    """Compares files with marks. It reads the beginning of each file once. Raises FileNotFoundError if a file is moved
    meanwhile."""

    def __init__(self) -> None:
        self._heads: dict[Path, bytes] = {}

    def fits(self, mark: Mark, path: Path) -> bool:
        """Whether the file begins with the bytes that were read. False if it cannot be read; the reader then reports
        why."""
        if mark.offset and not self._head(path).startswith(base64.b64decode(mark.head)):
            return False
        if not path.name.endswith(PACKED) and path.stat().st_size < mark.offset:
            return False
        try:
            with opened(path) as file:
                return samples(file, mark.offset) == (mark.head, mark.tail)
        except FileNotFoundError:
            raise
        except OSError:
            return False

    def is_covered(self, path: Path, mark: Mark) -> bool:
        """Whether the file is a copy of the bytes that were read, or of their first part."""
        if path.name.endswith(PACKED) or not 0 < path.stat().st_size <= mark.offset:
            return False
        return base64.b64decode(mark.head).startswith(self._head(path))

    def _head(self, path: Path) -> bytes:
        if path not in self._heads:
            try:
                with opened(path) as file:
                    self._heads[path] = file.read(SAMPLE)
            except FileNotFoundError:
                raise
            except (OSError, EOFError, lzma.LZMAError):
                self._heads[path] = b""
        return self._heads[path]


def opened(path: Path) -> BinaryIO:
    """Open a file, unpacked if it is packed; raises OSError."""
    if path.name.endswith(".gz"):
        return cast(BinaryIO, gzip.open(path))
    if path.name.endswith(".bz2"):
        return cast(BinaryIO, bz2.open(path))
    if path.name.endswith(".xz"):
        return cast(BinaryIO, lzma.open(path))
    return path.open("rb")


def samples(file: BinaryIO, offset: int) -> tuple[str, str] | None:
    """`head` and `tail` of the first `offset` bytes; None where the file has not that many. Raises OSError."""
    size = min(offset, SAMPLE)
    try:
        file.seek(0)
        head = file.read(size)
        file.seek(offset - size)
        tail = file.read(size)
    except (EOFError, lzma.LZMAError) as error:
        raise OSError(f"it is packed and cannot be unpacked: {error}") from error
    if len(head) < size or len(tail) < size:
        return None
    return base64.b64encode(head).decode(), base64.b64encode(tail).decode()


def mark_of(file: BinaryIO, path: Path, status: os.stat_result, offset: int, last_at: str | None) -> Mark:
    head, tail = samples(file, offset) or ("", "")
    return Mark(
        path=str(path), device=status.st_dev, inode=status.st_ino, offset=offset, head=head, tail=tail, last_at=last_at
    )


def assign(
    marks: Iterable[Mark], files: Mapping[Path, os.stat_result], content: Content
) -> tuple[dict[Path, Mark], list[Mark]]:
    """Which file carries on from which mark, and the marks whose file is gone.

    `files`: the rotated ones first. A file of the same inode comes before one that only has the same content: that is
    a copy, or the same text written anew.
    """
    left = sorted(marks, key=lambda mark: -mark.offset)
    found: dict[Path, Mark] = {}
    for same_inode in (True, False):
        for mark in list(left):
            for path, status in files.items():
                if path in found or mark.is_of(status) is not same_inode:
                    continue
                if mark.offset == 0 and not same_inode:
                    continue  # nothing was read: nothing to know it by
                if content.fits(mark, path):
                    found[path] = mark
                    left.remove(mark)
                    break
    return found, left


def moved_to(mark: Mark, path: Path) -> int | None:
    """Where the unread part begins in a log that lost its beginning. None if the last bytes that were read are not in
    it, or are in it more than once."""
    tail = base64.b64decode(mark.tail)
    if len(tail) < LEAST or path.stat().st_size < len(tail):
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(tail)
        return at + len(tail) if at >= 0 and content.rfind(tail) == at else None
