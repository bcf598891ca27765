"""Replaces files atomically, readable by their owner alone."""

import os
import tempfile
from pathlib import Path

UNFINISHED = ".horae-unfinished-"


def replace(path: Path, content: bytes) -> None:
    """Durable when it returns. A reader sees the old content or the new content, never a part."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{UNFINISHED}{path.name}.", dir=path.parent)  # of mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            _keep_owner(path, name)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def clear(folder: Path, name: str) -> None:
    """Remove unfinished files of dead runs, by name or glob. Call it only while nobody writes them."""
    for left in folder.glob(f"{UNFINISHED}{name}.*"):
        left.unlink(missing_ok=True)


def _keep_owner(path: Path, name: str) -> None:
    """Keep owner, group and their rights, because a consumer may run as another user."""
    status = path.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(name, status.st_uid, status.st_gid)
    os.chmod(name, status.st_mode & 0o770)
