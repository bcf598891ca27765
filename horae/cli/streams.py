"""Handles output that a terminal or file cannot take."""

import codecs
import errno
import os
import sys
from collections.abc import Mapping
from typing import TextIO

ASCII = {"…": "...", "→": "->", "▶": ">", "▷": ">", "●": "*", "µ": "u", "–": "-", "’": "'", "“": '"', "”": '"'}
"""Replacements for characters that ASCII does not have."""
HORIZONTAL, VERTICAL = "─━", "│┃"
BOXES = range(0x2500, 0x2580)
CANNOT_WRITE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def adapt(stream: TextIO, environment: Mapping[str, str]) -> None:
    """Let a stream print any text. Characters that its encoding does not have are replaced by ASCII. Python treats the
    C locale as UTF-8, because most terminals without a locale are UTF-8. A user with LC_ALL=C or LC_ALL=POSIX on a
    terminal gets ASCII.
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
    """The reason why output cannot be written, as a sentence; raises the error if it has another cause."""
    if error.errno not in CANNOT_WRITE or error.filename is not None:
        raise error
    # Drop what is left in the buffer. Python would flush it at exit and fail with a traceback.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"cannot write the output: {error.strerror}"
