"""One log file a part, `.horae/logs/<part>.log`, and its predecessor `.log.1`."""

from pathlib import Path
from typing import BinaryIO

from horae.files import private_folder

LIMIT_BYTES = 10_000_000
"""A log over this size makes way for a new one when its part starts."""
TAIL_LINES = 15


def open_log(path: Path) -> BinaryIO:
    """The log, open to append to; its folder is made."""
    private_folder(path.parent)
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines as an indented block that names the file, to end a message with."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16_384))
            last = log.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        last = []
    if not last:
        return f" It wrote nothing to {path}"
    return f" The end of {path}:\n" + "\n".join(f"    {line}" for line in last)
