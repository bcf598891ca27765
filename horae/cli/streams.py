"""How output gets to a terminal or a file that cannot take all of it."""

import codecs
import errno
import os
import sys
from collections.abc import Mapping
from typing import TextIO

ASCII = {"…": "...", "→": "->", "▶": ">", "▷": ">", "●": "*", "µ": "u", "–": "-", "’": "'", "“": '"', "”": '"'}
"""What stands for a character where there is ASCII alone."""
HORIZONTAL, VERTICAL = "─━", "│┃"
BOXES = range(0x2500, 0x2580)
CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def adapt(stream: TextIO, environment: Mapping[str, str]) -> None:
    """Let a stream print any text: what its encoding does not have is spelled in ASCII.

    Python takes the C locale for UTF-8, since that is what most terminals without a locale are; who says LC_ALL=C or
    LC_ALL=POSIX on a terminal gets ASCII.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return
    if environment.get("LC_ALL") in ("C", "POSIX") and stream.isatty() and "PYTHONUTF8" not in environment:
        reconfigure(encoding="ascii", errors="horae-ascii")
    elif not stream.encoding.lower().replace("-", "").startswith("utf8"):
        reconfigure(errors="horae-ascii")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_ascii, error.object[error.start : error.end])), error.end


def _ascii(character: str) -> str:
    if ord(character) in BOXES:
        return "-" if character in HORIZONTAL else "|" if character in VERTICAL else "+"
    return ASCII.get(character, "?")


codecs.register_error("horae-ascii", _spelled)


def refused(error: OSError) -> str:
    """Why output cannot be written, as a sentence; raises the error if it is about something else."""
    if error.errno not in CANNOT_WRITE or error.filename is not None:
        raise error
    # What is left in the buffer would fail again, with a traceback, when Python flushes it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"cannot write the output: {error.strerror}"
