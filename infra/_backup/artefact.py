"""A backup on disk: its names, its checksum, its manifest, and its atomic publication.

A run makes a backup in a workspace, a folder inside the backup folder that the run keeps locked. A run that dies leaves
an unlocked workspace, which the next run removes. Checksum and manifest are written first; then a rename gives the
artefact its final name. So every artefact is complete and has both beside it. A file without its checksum was written
by somebody else.
"""

import errno
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

CHECKSUM = ".sha256"
MANIFEST = ".json"
COMPANIONS = (CHECKSUM, MANIFEST)
ENCRYPTED = ".age"
WORKSPACE = ".unfinished-"
CHUNK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NAME = re.compile(r"(?P<name>.+)-(?P<at>\d{8}T\d{9}Z)(?P<suffix>\.sqlite3\.gz|\.dump|\.sql\.gz)(?P<age>\.age)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Artefact:
    """A finished backup, known by its file name."""

    name: str
    database: str
    at: datetime
    suffix: str
    """Of the dump, without that of the encryption."""
    encrypted: bool = False


def file_name(database: str, at: datetime, suffix: str) -> str:
    """`<database>-<instant, to the millisecond, UTC><suffix>`. The order by name is the order by age."""
    instant = at.astimezone(UTC)
    return f"{database}-{instant:%Y%m%dT%H%M%S}{instant.microsecond // 1000:03}Z{suffix}"


def artefacts(names: Iterable[str]) -> list[Artefact]:
    """The backups among these file names, the oldest first. Only names with a checksum beside them count."""
    known = set(names)
    found = [artefact for name in known if name + CHECKSUM in known and (artefact := named(name))]
    return sorted(found, key=lambda artefact: (artefact.at, artefact.name))


def named(name: str) -> Artefact | None:
    """The backup with this file name; None if no backup has such a name."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    try:
        second = datetime.strptime(match["at"][:-4], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    at = second.replace(microsecond=int(match["at"][-4:-1]) * 1000)
    encrypted = match["age"] is not None
    return Artefact(name=name, database=match["name"], at=at, suffix=match["suffix"], encrypted=encrypted)


def orphans(names: Iterable[str]) -> list[str]:
    """The companions among these file names whose artefact is gone, or never came."""
    known = set(names)
    return [
        name
        for name in sorted(known)
        for companion in COMPANIONS
        if name.endswith(companion) and (whole := name.removesuffix(companion)) not in known and named(whole)
    ]


def files_in(folder: Path) -> list[str]:
    """Names of the files in a folder that may not exist."""
    return [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []


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
    for companion in [] if alive else orphans(files_in(folder)):  # a live run may be about to add the artefact
        (folder / companion).unlink(missing_ok=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(made: Path, folder: Path, name: str, digest: str, manifest: str) -> None:
    """Give a finished file its final name, after its checksum and manifest, all durably."""
    checksum, described = made.with_name(name + CHECKSUM), made.with_name(name + MANIFEST)
    checksum.write_text(f"{digest}  {name}\n")
    described.write_text(manifest)
    for path, final in ((checksum, checksum.name), (described, described.name), (made, name)):
        _place(path, folder / final)


def rewrite(work: Path, folder: Path, name: str, text: str) -> None:
    """Replace a companion as a whole."""
    path = work / name
    path.write_text(text)
    _place(path, folder / name)


def _place(path: Path, final: Path) -> None:
    path.chmod(0o600)
    sync(path)
    path.replace(final)
    sync(final.parent)


def remove(folder: Path, name: str) -> None:
    """Remove a backup. Its companions go last, so that a removal that dies is finished by the next run."""
    for companion in ("", *COMPANIONS):
        (folder / (name + companion)).unlink(missing_ok=True)


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
        raise OSError(errno.ENOSPC, f"{folder} has {free >> 20} MiB free, but {needed_bytes >> 20} MiB are needed")
