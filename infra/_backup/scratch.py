"""Scratch databases on a server: each is written down before it is made, so that a dead run leaves none for ever."""

import fcntl
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra._backup.artefact import sync
from infra._backup.engine import BackupFailed

RECORD = ".scratch-"
PREFIX = "horae_drill_"


@contextmanager
def recorded(folder: Path, work: Path, server: str, drop: Callable[[str], None]) -> Iterator[str]:
    """The name of a database to make on `server`; it is dropped afterwards. `work`: the workspace, in `folder`.

    First drops what dead runs left on this server. Only names in a record in `folder` are dropped.
    """
    _drop_left(folder, server, drop)
    name = f"{PREFIX}{secrets.token_hex(6)}"
    path = folder / f"{RECORD}{name}.json"
    written = work / path.name
    with written.open("w") as record:
        fcntl.flock(record, fcntl.LOCK_EX)
        json.dump({"server": server, "database": name}, record)
        record.flush()
        sync(written)
        written.rename(path)  # only now, when it is locked, can another drill find it
        sync(folder)
        try:
            yield name
        except BaseException:
            with suppress(BackupFailed):  # the first failure says more
                drop(name)
                path.unlink()
            raise
        drop(name)  # if that fails the record stays, and the next drill tries again
        path.unlink()


@contextmanager
def dropped_on_failure(shown: str, drop: Callable[[], None]) -> Iterator[None]:
    """Drop the database that was just created if the block raises."""
    try:
        yield
    except BaseException as error:
        try:
            drop()
        except BackupFailed as left:
            raise BackupFailed(f"{error}; and {shown}, which was created for it, is left: {left.message}") from error
        raise


def _drop_left(folder: Path, server: str, drop: Callable[[str], None]) -> None:
    for path in sorted(folder.glob(f"{RECORD}{PREFIX}*.json")):
        with path.open() as record:
            try:
                fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a live drill has it
                continue
            left = json.load(record)
            if left["server"] != server:
                continue
            with suppress(BackupFailed):  # the drill itself says what is wrong with the server
                drop(left["database"])
                path.unlink(missing_ok=True)
