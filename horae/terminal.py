"""Text of jobs, errors and file names on its way to a terminal: control characters are shown as text, not executed."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

_MARK = "\ufdd0"
"""A noncharacter. It marks our own styles, which the stream converts to escape sequences."""
_OURS = _MARK + os.urandom(4).hex()
"""What the text of a job can never contain."""
_CONTROLS = re.compile(
    # C0 except tab and newline, DEL and C1; marks, embeddings and isolates of bidirectional text; line separators; lone
    # surrogates.
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ud800-\udfff\ufdd0]"
)
_STYLES = re.compile(f"{_OURS}([0-9;]+)m")


def escaped(text: str) -> str:
    r"""The text with each control character as `\u001b`, in the form of JSON. Newlines and tabs stay."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    r"""The same, with newlines and tabs as ` ` and `\t`, for a cell or for a line about one thing."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def styled(text: str, codes: str) -> str:
    """The text between a style, such as `1;31`, and its end. An `EscapedStream` makes the style visible."""
    return f"{_OURS}{codes}m{text}{_OURS}0m"


class EscapedStream:
    """A text stream on which only our own styles are escape sequences."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        plain, *more = _STYLES.split(text)
        pieces = [escaped(plain)]
        for codes, following in zip(more[::2], more[1::2], strict=True):
            pieces += [f"\x1b[{codes}m", escaped(following)]
        self._stream.write("".join(pieces))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def escaping() -> Iterator[None]:
    """Make stdout and stderr such streams."""
    plain = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = cast(TextIO, EscapedStream(plain[0])), cast(TextIO, EscapedStream(plain[1]))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = plain
