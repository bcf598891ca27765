"""Which files are followed: a log that is written to, and its rotated predecessors.

A family is named by its log's path. `app.log`, `app.log.1`, `app.log.2.gz`, `app.log-20261126` and
`app-2026-11-26.log` are one family.
"""

import glob
import os
import re
from dataclasses import dataclass
from pathlib import Path

from infra._logs.marks import Mark

ROTATED = r"[.\-_](?:\d[\d.\-_:TZ]*|old|prev)"
PACKED = r"(?:\.(?:gz|bz2|xz|zst|lz4|zip))?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    source: str
    """The path of its log as it is shown: relative to the project where it lies in it."""
    log: Path


def families(patterns: tuple[str, ...], own: Path | None, project: Path) -> tuple[list[Family], list[str]]:
    """The families of the given paths and globs and of `own`, a folder of logs, and a sentence for each glob without a
    file."""
    wanted: dict[Path, None] = {}
    unseen: list[str] = []
    for pattern in patterns:
        full = str(project / Path(pattern).expanduser())
        if not glob.has_magic(full):
            wanted[Path(os.path.normpath(full))] = None
            continue
        paths = [Path(path) for path in sorted(glob.glob(full, recursive=True)) if not Path(path).is_dir()]
        if not paths:
            unseen.append(f"no file matches {pattern}")
        wanted |= dict.fromkeys(paths)
    if own is not None:
        wanted |= dict.fromkeys(sorted(own.glob("*.log")))
    logs = [path for path in wanted if not any(is_rotated(path, other) for other in wanted if other != path)]
    return [Family(source=shown(path, project), log=path) for path in logs], unseen


def shown(path: Path, project: Path) -> str:
    return path.relative_to(project).as_posix() if path.is_relative_to(project) else str(path)


def is_rotated(path: Path, log: Path) -> bool:
    """Whether a file is a rotated predecessor of a log, by its name."""
    if path.parent != log.parent:
        return False
    before, after = re.escape(log.stem), re.escape(log.suffix)
    return bool(re.fullmatch(rf"{before}{after}{ROTATED}{PACKED}|{before}{ROTATED}{after}{PACKED}", path.name))


def _twin(path: Path) -> Path | None:
    """The name of a packed file before it was packed."""
    return path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz", ".zst", ".lz4") else None


def members(family: Family, marks: list[Mark]) -> dict[Path, os.stat_result]:
    """The existing files of a family, oldest first, the log itself last. Raises OSError if the folder cannot be read,
    and FileNotFoundError if a file is moved meanwhile."""
    places = {family.log.parent, family.log.resolve().parent}
    paths = {
        path
        for place in places
        if place.is_dir()
        for path in place.iterdir()
        if is_rotated(path, place / family.log.name) and path != family.log
    }
    paths |= {Path(mark.path) for mark in marks} - {family.log}
    found: dict[Path, os.stat_result] = {}
    known: set[tuple[int, int]] = set()
    if family.log.is_file():
        status = family.log.stat()
        known.add((status.st_dev, status.st_ino))
    for path in paths:
        if (twin := _twin(path)) and twin.is_file():
            continue  # it is being packed
        if path.is_file() and ((status := path.stat()).st_dev, status.st_ino) not in known:
            found[path] = status
            known.add((status.st_dev, status.st_ino))  # a second link to it is the same file
    ordered = dict(sorted(found.items(), key=lambda item: item[1].st_mtime_ns))
    if family.log.is_file():
        ordered[family.log] = family.log.stat()
    return ordered
