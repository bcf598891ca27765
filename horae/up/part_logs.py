"""One log file for each part, `.horae/logs/<part>.log`, and the previous one as `.log.1`."""

from pathlib import Path
from typing import BinaryIO

from horae.files import private_folder

LIMIT_BYTES = 10_000_000
"""A log that is larger than this is replaced by a new one when its part starts."""
TAIL_LINES = 15


def open_log(path: Path) -> BinaryIO:
    """The log, opened to append. Creates its folder."""
    private_folder(path.parent)
    if path.exists() and path.stat().st_size > LIMIT_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


def tail(path: Path, lines: int = TAIL_LINES) -> str:
    """The last lines as an indented block with the name of the file, for the end of a message."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 16_384))
            last = log.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        last = []
    if not last:
        return f" It wrote nothing to {path}"
    return f" The end of {path}:\n" + "\n".join(f"    {line}" for line in last)
