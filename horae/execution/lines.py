"""Converts the output of a run to the lines that the ledger keeps."""

import codecs
import threading
from collections.abc import Callable

from horae.clock import isoformat, monotonic, now

type Sink = Callable[[str], None]
LINE_LIMIT = 4_000
PIECE = LINE_LIMIT - 60
"""The most characters of a line. The limit leaves room for instant and level."""
OLD_SECONDS = 0.5
"""Text without a line end for this long is passed on as it is, because a job may print dots for an hour."""


def sound(text: str) -> str:
    """Text that can be written as UTF-8: lone surrogates, as in names of files, are escaped."""
    return text.encode(errors="backslashreplace").decode()


def stamped(level: str, text: str) -> str:
    """A log line in its stored form: instant, level, text, cut at LINE_LIMIT characters."""
    return f"{isoformat(now())} {level} {sound(text[:LINE_LIMIT])}"[:LINE_LIMIT]


class Lines:
    """A stream of text that is split into lines, and long lines into pieces. Any thread may call it."""

    def __init__(self, label: str, sink: Sink) -> None:
        """`label`: the text in the place of the level; empty: each line begins with its own level."""
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
        """Bytes that are not UTF-8 are escaped."""
        self.write(self._decoder.decode(data))

    def flush(self, older_than_seconds: float = 0.0) -> None:
        """Pass on a line without an end, if it began long enough ago."""
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
