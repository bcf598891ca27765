"""Backing up a live SQLite database: copy, check, compress, and prove that it restores."""

import fcntl
import glob
import gzip
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from infra._backup.artefact import CHUNK, require_space, sync
from infra._backup.databases import SQLite
from infra._backup.engine import BackupFailed, Counted, Made, RestoreRefused

SUFFIX = ".sqlite3.gz"
MAGIC = b"SQLite format 3\0"
COMPANIONS = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, kw_only=True, slots=True)
class SQLiteEngine:
    work: Path
    timeout_seconds: float

    def probe(self, database: SQLite) -> str:
        _require_database(database.path)
        return f"{_size(database.path) / 1e6:.1f} MB"

    def back_up(self, database: SQLite) -> Made:
        return back_up(database.path, self.work, self.timeout_seconds)

    @contextmanager
    def scratch(self, database: SQLite, folder: Path) -> Iterator[SQLite]:
        path = self.work / "scratch.sqlite3"
        try:
            yield SQLite(name=database.name, path=path)
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def claimed(self, target: SQLite, dry_run: bool) -> Iterator[None]:
        for path in (target.path.with_name(target.path.name + ending) for ending in COMPANIONS):
            if os.path.lexists(path):
                raise RestoreRefused(
                    f"{path} exists, and a restore overwrites nothing; give the path of a new file, or move this one "
                    "away"
                )
        if not target.path.parent.is_dir():
            raise RestoreRefused(f"there is no folder {target.path.parent}; create it, or give another path")
        yield

    def restore(self, file: Path, target: SQLite, *, drill: bool, owners: bool) -> None:
        """The target appears with its whole content, or not at all."""
        with _unfinished(target.path) as half:
            unpack(file, half)
            check(half)
            sync(half)
            try:
                target.path.hardlink_to(half)
            except FileExistsError:  # it came while we unpacked; a rename would overwrite it
                raise RestoreRefused(f"{target.path} exists now, and a restore overwrites nothing") from None
        sync(target.path.parent)

    def count(self, database: SQLite) -> Counted:
        return Counted(tables=check(database.path))


def back_up(source: Path, work: Path, timeout_seconds: float) -> Made:
    """Make a compressed copy of `source` in `work` while others write to it; raises BackupFailed or OSError."""
    _require_database(source)
    require_space(work, 3 * _size(source))  # the copy, the artefact at its worst, the restored one
    copied, packed, restored = work / "copy.sqlite3", work / f"artefact{SUFFIX}", work / "restored.sqlite3"
    copy(source, copied, timeout_seconds)
    counts = check(copied)
    with copied.open("rb") as plain, packed.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:
        shutil.copyfileobj(plain, zipped, CHUNK)
    sync(packed)
    unpack(packed, restored)
    if _digest(restored) != _digest(copied):
        raise BackupFailed(f"the content restored from the backup of {source} differs from the original")
    if (found := check(restored)) != counts:
        wrong = sorted(name for name in counts.keys() | found.keys() if counts.get(name) != found.get(name))
        raise BackupFailed(f"the restored copy of {source} has other row counts in {', '.join(wrong)}")
    copied.unlink()
    restored.unlink()
    return Made(file=packed, suffix=SUFFIX, tables=counts)


def unpack(packed: Path, target: Path) -> None:
    """Raises BackupFailed if the file is damaged."""
    try:
        with gzip.open(packed, "rb") as zipped, target.open("wb") as plain:
            shutil.copyfileobj(zipped, plain, CHUNK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupFailed(f"{packed.name} is damaged: {error}") from None


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A locked file beside the target. Also removes those of dead restores."""
    prefix = f".{target.name[:100]}.horae-restore-"
    for left in target.parent.glob(f"{glob.escape(prefix)}*"):
        with left.open("rb") as held, suppress(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=target.parent)
    with os.fdopen(descriptor, "wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)


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


def _size(source: Path) -> int:
    """Bytes of the file and of its write-ahead log."""
    wal = source.with_name(source.name + "-wal")
    return source.stat().st_size + (wal.stat().st_size if wal.exists() else 0)


def _open(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(path))}?{options}", uri=True, timeout=0.5)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
