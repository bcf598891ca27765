"""Files that Horae writes: complete or not at all. New files are private."""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@contextmanager
def written_whole(path: Path) -> Iterator[TextIO]:
    """A UTF-8 text file that gets its name when the block ends, and never appears if the block raises. An existing file
    keeps its mode, and a new one gets 0600. A symbolic link stays, and its target is replaced. A device, a pipe or
    another file that is not regular is written directly. Raises OSError.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG | PRIVATE_FILE
    if not stat.S_ISREG(mode):
        # Do not create it here: if someone removed it in between, that is an error and not a new file.
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_NOCTTY), "w", encoding="utf-8") as there:
            yield there
        return
    # A random name, opened exclusively, so that nobody can put a link there before.
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), stat.S_IMODE(mode))
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def private_folder(path: Path) -> Path:
    """The folder. Missing folders are created, and only the owner may enter this one. Raises OSError."""
    path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    if path.stat().st_uid == os.geteuid() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        path.chmod(PRIVATE_FOLDER)
    return path
