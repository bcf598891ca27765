"""The collected entries: Parquet files in one folder per day. A run adds its entries completely or not at all.

    collected-logs/
        entries/date=2026-11-26/batch-00000042-0.parquet
        offsets.json
        .unfinished-…/            of a run that goes on, or died

A run writes its batch under the next number and then replaces offsets.json, which holds the number and the offsets.
A file with a higher number than that in offsets.json is from a run that died before it replaced offsets.json. The next
run removes the file before it reads the same lines again.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from horae import clock
from infra._logs.entry import Entry
from infra._logs.state import LogsNotCollected

BATCH = re.compile(r"batch-(?P<number>\d{8,})-\d+\.parquet")
DAY = re.compile(r"date=(?P<day>\d{4}-\d\d-\d\d)")
COLUMNS = {
    "date": "DATE",
    "logged_at": "TIMESTAMPTZ",
    "level": "VARCHAR",
    "source": "VARCHAR",
    "logger": "VARCHAR",
    "message": "VARCHAR",
    "traceback": "VARCHAR",
    "fields": "JSON",
    "format": "VARCHAR",
    "has_own_time": "BOOLEAN",
    "cut": "BOOLEAN",
    "file": "VARCHAR",
    "position": "BIGINT",
}


@contextmanager
def locked(folder: Path) -> Iterator[Path]:
    """The folder, for this run alone; raises LogsNotCollected when another run holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LogsNotCollected(
                f"another run collects into {folder} now; this run would collect the same entries"
            ) from None
        for left in folder.glob(".unfinished-*"):
            shutil.rmtree(left, ignore_errors=True)
        yield folder


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def batches(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "entries").glob("date=*/batch-*.parquet")) if _number(path) is not None]


def remove_after(folder: Path, batch: int) -> list[Path]:
    """Remove the files of a run that died: their number is higher than `batch`."""
    dead = [path for path in batches(folder) if (_number(path) or 0) > batch]
    for path in dead:
        path.unlink()
    return dead


class Writer:
    """Takes entries, as lines of JSON in the workspace."""

    def __init__(self, work: Path) -> None:
        self.path = work / "entries.jsonl"
        self.count = 0
        self._file: TextIO = self.path.open("w")

    def add(self, entry: Entry, *, at: datetime, source: str, file: str, position: int, cut: bool) -> None:
        row = {
            "date": at.astimezone(UTC).date().isoformat(),
            "logged_at": at.astimezone(UTC).isoformat(),
            "level": entry.level,
            "source": source,
            "logger": entry.logger,
            "message": entry.message,
            "traceback": entry.traceback,
            "fields": entry.fields,
            "format": entry.format,
            "has_own_time": entry.at is not None,
            "cut": cut,
            "file": file,
            "position": position,
        }
        text = json.dumps(row, default=str)
        if "\\ud" in text or "\\u0000" in text:
            text = json.dumps(_sound(row), default=str)
        self._file.write(text + "\n")
        self.count += 1

    def close(self) -> Path:
        self._file.close()
        return self.path


def publish(lines: Path, folder: Path, batch: int, entry_limit_bytes: int) -> int:
    """Write the lines as Parquet files of that number, one a day, durably; returns how many files."""
    import duckdb

    made = lines.parent / "made"
    longest = max(1 << 24, 16 * entry_limit_bytes)  # JSON writes a character as up to six
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    options: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "threads": 2,
        "memory_limit": "512MiB",
    }
    try:
        with duckdb.connect(config=options) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET temp_directory = '{_quoted(lines.parent / 'spill')}'")
            connection.execute(
                f"COPY (SELECT * FROM read_json('{_quoted(lines)}', format = 'newline_delimited', "
                f"columns = {{{columns}}}, maximum_object_size = {longest})) TO '{_quoted(made)}' "
                "(FORMAT parquet, COMPRESSION zstd, PARTITION_BY (date))"
            )
    except duckdb.Error as error:
        raise LogsNotCollected(f"the entries cannot be written to {folder} as Parquet: {error}") from error
    files = 0
    for day in sorted(made.glob("date=*")):
        parts = sorted(day.glob("*.parquet"))
        target = folder / "entries" / day.name
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number, part in enumerate(parts):
            _sync(part)
            part.chmod(0o600)
            part.replace(target / f"batch-{batch:08}-{number}.parquet")
            files += 1
        _sync(target)
    return files


def remove_old(folder: Path, keep_days: int) -> list[str]:
    """Remove the expired days; returns them."""
    oldest = first_day(keep_days)
    removed = []
    for path in sorted((folder / "entries").glob("date=*")):
        found = DAY.fullmatch(path.name)
        if found and date.fromisoformat(found["day"]) < oldest:
            for batch in path.glob("batch-*.parquet"):
                batch.unlink(missing_ok=True)
            if not any(path.iterdir()):
                path.rmdir()
            removed.append(found["day"])
    return removed


def first_day(keep_days: int) -> date:
    """The oldest day that stays, today being one of them."""
    return clock.now().astimezone(UTC).date() - timedelta(days=keep_days - 1)


def _sound(value: Any) -> Any:
    """Replace what a Parquet text cannot hold: halves of surrogate pairs, and NUL."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {_sound(key): _sound(one) for key, one in value.items()}
    return [_sound(one) for one in value] if isinstance(value, list) else value


def _number(path: Path) -> int | None:
    found = BATCH.fullmatch(path.name)
    return int(found["number"]) if found else None


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
