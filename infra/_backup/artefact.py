"""A backup on disk: its name, its checksum, and its atomic publication.

A run makes a backup in a workspace, a folder inside the backup folder that the run keeps locked. A run that dies leaves
an unlocked workspace, which the next run removes. The checksum is written first; then a rename gives the artefact its
final name. So every artefact is complete and has its checksum beside it.
"""

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CHECKSUM = ".sha256"
WORKSPACE = ".unfinished-"
CHUNK = 1 << 20
NAME = re.compile(r"(?P<name>.+)-(?P<at>\d{8}T\d{9}Z)(?P<suffix>\.sqlite3\.gz|\.dump)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """A finished backup, known by its file name."""

    database: str
    at: datetime
    path: Path


def file_name(database: str, at: datetime, suffix: str) -> str:
    """`<database>-<instant, to the millisecond, UTC><suffix>`. The order by name is the order by age."""
    instant = at.astimezone(UTC)
    return f"{database}-{instant:%Y%m%dT%H%M%S}{instant.microsecond // 1000:03}Z{suffix}"


def artefacts(folder: Path) -> list[Artefact]:
    """The finished backups in the folder, the oldest first. Files with other names are ignored."""
    found = [
        Artefact(
            database=match["name"],
            at=datetime.strptime(match["at"][:-4], "%Y%m%dT%H%M%S").replace(
                tzinfo=UTC, microsecond=int(match["at"][-4:-1]) * 1000
            ),
            path=path,
        )
        for path in folder.iterdir()
        if (match := NAME.fullmatch(path.name)) and path.is_file()
    ]
    return sorted(found, key=lambda artefact: (artefact.at, artefact.path.name))


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A private folder inside `folder`, removed afterwards. Also removes the workspaces of dead runs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)  # held briefly, so that a new workspace is not mistaken for that of a dead run
        _clear(folder)
        mine = Path(tempfile.mkdtemp(prefix=WORKSPACE, dir=folder))
        held = os.open(mine, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        os.close(held)


def _clear(folder: Path) -> None:
    alive = False
    for left in folder.glob(f"{WORKSPACE}*"):
        held = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alive = True
        else:
            shutil.rmtree(left, ignore_errors=True)
        finally:
            os.close(held)
    for checksum in [] if alive else folder.glob(f"*{CHECKSUM}"):  # a live run may be about to add the artefact
        if not checksum.with_suffix("").exists():
            checksum.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(made: Path, folder: Path, name: str) -> str:
    """Give a finished file its final name, after its checksum, both durably; returns the checksum."""
    digest = sha256(made)
    checksum = made.with_name(name + CHECKSUM)
    checksum.write_text(f"{digest}  {name}\n")
    for path, final in ((checksum, folder / (name + CHECKSUM)), (made, folder / name)):
        path.chmod(0o600)
        sync(path)
        path.replace(final)
        sync(folder)
    return digest


def sync(path: Path) -> None:
    """Flush the file, or the entries of the folder, to disk, so that it survives a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise OSError, before anything is written, if the disk has less free space."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OSError(f"{folder} has {free >> 20} MiB free, but {needed_bytes >> 20} MiB are needed; free some space")
