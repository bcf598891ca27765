"""From what a run prints and writes to the lines that are kept of it."""

import codecs
import threading
from collections.abc import Callable

from horae.clock import isoformat, monotonic, now

type Sink = Callable[[str], None]
LINE_LIMIT = 4_000
PIECE = LINE_LIMIT - 60
"""Of a longer line, so that instant and level fit in as well."""
OLD_SECONDS = 0.5
"""What has had no end of a line for so long is shown without one: a job may print dots for an hour."""


def sound(text: str) -> str:
    """Text that can be written as UTF-8: half a surrogate pair, as the name of a file may have, is spelled out."""
    return text.encode(errors="backslashreplace").decode()


def stamped(level: str, text: str) -> str:
    """A log line as it is kept: instant, level, text, cut at LINE_LIMIT characters."""
    return f"{isoformat(now())} {level} {sound(text[:LINE_LIMIT])}"[:LINE_LIMIT]


class Lines:
    """A stream of text, cut into lines; a long line in pieces. Callable from any thread."""

    def __init__(self, label: str, sink: Sink) -> None:
        """`label`: where a line has its level; empty: each line begins with its own."""
        self._label, self._sink = label, sink
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._begun: list[str] = []
        """Of the line that has no end yet."""
        self._length, self._since = 0, 0.0

    def write(self, text: str) -> None:
        with self._lock:
            whole, end, rest = text.rpartition("\n")
            if end:
                for line in self._taken(whole).split("\n"):
                    self._say(line)
            if rest:
                self._since = self._since if self._begun else monotonic()
                self._begun.append(rest)
                self._length += len(rest)
            if self._length >= PIECE:
                self._say(self._taken())

    def write_bytes(self, data: bytes) -> None:
        """What is no UTF-8 is spelled out."""
        self.write(self._decoder.decode(data))

    def flush(self, older_than_seconds: float = 0.0) -> None:
        """Pass on a line that has no end yet, if it was begun so long ago."""
        with self._lock:
            if self._begun and monotonic() - self._since >= older_than_seconds:
                self._say(self._taken())

    def _taken(self, more: str = "") -> str:
        line = "".join([*self._begun, more])
        self._begun, self._length = [], 0
        return line

    def _say(self, line: str) -> None:
        for start in range(0, len(line) or 1, PIECE):
            piece = line[start : start + PIECE]
            self._sink(stamped(self._label, piece) if self._label else stamped(*_record(piece)))


def _record(line: str) -> tuple[str, str]:
    level, _, text = line.partition(" ")
    return level, text
