"""Decides which files of a family a run reads, and from which offset."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from infra._logs.families import Family, members
from infra._logs.marks import PACKED, Content, Mark, assign, moved_to

TRIES = 5
SLACK = timedelta(seconds=1)
"""The times of files lag a little behind the clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A file to read, from an offset on."""

    path: Path
    status: os.stat_result
    offset: int
    mark: Mark | None = None
    """The mark that the reading continues from; None for a new file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    parts: tuple[Part, ...] = ()
    """The oldest first."""
    unseen: tuple[str, ...] = ()
    """One sentence for each thing that is lost or cannot be read."""
    kept: tuple[Mark, ...] = field(default=())
    """Marks of files that cannot be read now; they stay as they are."""
    gone: bool = False
    """Whether the log that was read before cannot be found."""
    whole: bool = True
    """Whether everything was looked at. If not, the next run looks at all changes since the run before it."""


def plan(family: Family, marks: Sequence[Mark], read_at: datetime | None) -> Plan:
    """`read_at`: when the family was read before. Without it, the rotated files are older than the first run, and are
    not read."""
    for _ in range(TRIES):
        try:
            files = members(family, list(marks))
            found = _plan(family, files, marks, read_at)
            # What only moved meanwhile is noticed when it is opened; what is gone may have been missed.
            if not found.gone or members(family, list(marks)).keys() == files.keys():
                return found
        except FileNotFoundError:
            continue  # a rotation is going on
        except OSError as error:
            return Plan(unseen=(f"{family.source}: {error.strerror}",), kept=tuple(marks), whole=False)
    return Plan(unseen=(f"{family.source} is rotated faster than it can be read",), kept=tuple(marks), whole=False)


def _plan(family: Family, files: dict[Path, os.stat_result], marks: Sequence[Mark], read_at: datetime | None) -> Plan:
    if family.log not in files and not marks:
        what = "is a folder" if family.log.is_dir() else "does not exist"
        return Plan(unseen=(f"{family.source} {what}",), whole=False)
    readable, unseen = _readable(files, family, marks, read_at)
    content = Content()
    found, gone = assign(marks, readable, content)
    parts, whole = [], True
    for path, status in readable.items():
        if mark := found.get(path):
            parts.append(Part(path=path, status=status, offset=mark.offset, mark=mark))
        elif path == family.log:
            parts.append(_anew(family, status, gone))
        elif any(mark.offset and content.fits(mark, path) for mark in found.values()):
            whole = False  # a copy of a log that goes on: the next run sees whether the log is truncated then
        elif read_at is None or any(content.is_covered(path, mark) for mark in marks):
            # Remembered as read, so that it is known when it is rotated on.
            parts.append(Part(path=path, status=status, offset=status.st_size))
        elif status.st_mtime >= (read_at - SLACK).timestamp():
            parts.append(Part(path=path, status=status, offset=0))
    kept = tuple(mark for mark in gone if Path(mark.path) in files and Path(mark.path) not in readable)
    lost = any(mark not in kept and mark.path == str(family.log) and mark.offset for mark in gone)
    if lost:
        unseen.append(
            f"{family.source}: the file that was read before is missing, and none of its rotated copies continues "
            "it; what was written to it since is lost"
        )
    return Plan(parts=tuple(parts), unseen=tuple(unseen), kept=kept, whole=whole, gone=lost)


def _anew(family: Family, status: os.stat_result, gone: list[Mark]) -> Part:
    """A log without a fitting mark: it is new, or it lost its beginning."""
    for mark in gone:
        if mark.path == str(family.log) and (offset := moved_to(mark, family.log)) is not None:
            gone.remove(mark)
            return Part(path=family.log, status=status, offset=offset, mark=mark)
    return Part(path=family.log, status=status, offset=0)


def _readable(
    files: dict[Path, os.stat_result], family: Family, marks: Sequence[Mark], read_at: datetime | None
) -> tuple[dict[Path, os.stat_result], list[str]]:
    """The files that can be opened and hold text, and a sentence for each other file that matters now. Raises
    FileNotFoundError if a file is moved meanwhile."""
    good: dict[Path, os.stat_result] = {}
    unseen: list[str] = []
    for path, status in files.items():
        known = any(mark.is_of(status) for mark in marks)
        if path != family.log and not known and not _matters(path, status, read_at):
            continue
        problem = _problem(path)
        if problem and path != family.log and read_at is None:
            continue
        if problem:
            unseen.append(f"{family.source}: {path.name} {problem}")
        else:
            good[path] = status
    return good, unseen


def _matters(path: Path, status: os.stat_result, read_at: datetime | None) -> bool:
    """Whether a rotated file may hold unread entries: it changed since the last run. Packing and copying may keep the
    time of the content, so the time of the last change of the file itself counts too."""
    if read_at is None:
        return not path.name.endswith(PACKED)
    return max(status.st_mtime, status.st_ctime) >= (read_at - SLACK).timestamp()


def _problem(path: Path) -> str | None:
    if path.name.endswith((".zst", ".lz4", ".zip")):
        return "has a compression that cannot be read; use gzip, bzip2 or xz, or `delaycompress` of logrotate"
    try:
        with path.open("rb") as file:
            start = file.read(1024)
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if not path.name.endswith(PACKED) and b"\0" in start:
        return "contains no text"
    return None
