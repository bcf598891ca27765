"""Backing up a live SQLite database: copy, check, compress, and prove that it restores."""

import gzip
import hashlib
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from horae.errors import RunError
from infra._backup.artefact import CHUNK, require_space, sync

SUFFIX = ".sqlite3.gz"
MAGIC = b"SQLite format 3\0"


class BackupFailed(RunError):
    """The backup could not be made, or did not pass its check."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An artefact in the workspace that was proved to restore."""

    file: Path
    suffix: str
    tables: int
    rows: int


def back_up(source: Path, work: Path, timeout_seconds: float) -> Made:
    """Make a compressed copy of `source` in `work` while others write to it; raises BackupFailed or OSError."""
    _require_database(source)
    size = source.stat().st_size + sum(wal.stat().st_size for wal in [_beside(source, "-wal")] if wal.exists())
    require_space(work, 3 * size)  # the copy, the artefact at its worst, the restored one
    copied, packed, restored = work / "copy.sqlite3", work / f"artefact{SUFFIX}", work / "restored.sqlite3"
    copy(source, copied, timeout_seconds)
    counts = check(copied)
    with copied.open("rb") as plain, packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
        shutil.copyfileobj(plain, zipped, CHUNK)
    sync(packed)
    with gzip.open(packed, "rb") as zipped, restored.open("wb") as plain:
        shutil.copyfileobj(zipped, plain, CHUNK)
    if _digest(restored) != _digest(copied):
        raise BackupFailed(f"the content restored from the backup of {source} differs from the original")
    if (found := check(restored)) != counts:
        wrong = sorted(name for name in counts.keys() | found.keys() if counts.get(name) != found.get(name))
        raise BackupFailed(f"the restored copy of {source} has other row counts in {', '.join(wrong)}")
    copied.unlink()
    restored.unlink()
    return Made(file=packed, suffix=SUFFIX, tables=len(counts), rows=sum(counts.values()))


def copy(source: Path, target: Path, timeout_seconds: float) -> None:
    """Copy by SQLite's online backup in one step. A copy in several steps starts again at each write and may never end.
    Raises BackupFailed if the database stays locked."""
    deadline = time.monotonic() + timeout_seconds

    def tried(_status: int, _remaining: int, _total: int) -> None:
        if time.monotonic() > deadline:
            raise BackupFailed(f"{source} stayed locked for {timeout_seconds:g} s; stop the process that locks it")

    try:
        with closing(_open(source, "mode=ro")) as live, closing(sqlite3.connect(target)) as copied:
            live.backup(copied, pages=-1, progress=tried, sleep=0.05)
    except sqlite3.Error as error:
        raise BackupFailed(f"{source} cannot be copied: {error}") from error


def check(path: Path) -> dict[str, int]:
    """Rows of each table of a file that nobody writes to; raises BackupFailed unless its integrity check passes."""
    try:
        with closing(_open(path, "immutable=1")) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check(5)")]
            if said != ["ok"]:
                raise BackupFailed(f"the integrity check failed: {'; '.join(map(str, said))}")
            tables = connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
            ).fetchall()
            return {name: _count(connection, name) for (name,) in tables}
    except sqlite3.Error as error:
        raise BackupFailed(f"the copy cannot be read: {error}") from error


def _count(connection: sqlite3.Connection, table: str) -> int:
    quoted = table.replace('"', '""')
    return int(connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()[0])


def _require_database(source: Path) -> None:
    if not source.exists():
        raise BackupFailed(f"the database {source} does not exist")
    if not source.is_file():
        raise BackupFailed(f"{source} is not a file")
    with source.open("rb") as file:
        start = file.read(len(MAGIC))
    if not start:
        raise BackupFailed(f"{source} is empty, so it contains no database")
    if start != MAGIC:
        raise BackupFailed(f"{source} is not an SQLite database, or is encrypted")


def _beside(source: Path, ending: str) -> Path:
    return source.with_name(source.name + ending)


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True, timeout=0.5)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
