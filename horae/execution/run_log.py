"""The log of one run: the lines of its records, its output, its subprocesses and its forks."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from horae.execution.capture import RECORD
from horae.execution.lines import LINE_LIMIT, OLD_SECONDS, Lines, Sink, stamped
from horae.execution.pipes import Pipe, PipeReader

LINES_OF_A_RECORD = 20
"""In characters of LINE_LIMIT each: what is kept of one log record, such as a long traceback."""
_making = threading.Lock()


class Streams:
    """Everything that a run writes to. What comes after `end` is dropped."""

    def __init__(self, sink: Sink, reader: PipeReader | None = None) -> None:
        """`reader` reads what other processes of the run write; without one they write as this process does."""
        self._sink, self._reader = sink, reader
        self._ended, self._process = False, os.getpid()
        self._lock = threading.Lock()
        self._lines: dict[str, Lines] = {}
        self._pipes: dict[str, Pipe] = {}
        self._unsent: dict[tuple[int, int, str], str] = {}
        """Of each fork, thread and label: the beginning of a line."""

    def lines(self, writer: str, label: str) -> Lines:
        """The lines of one of those who write under that label: lines of two must not mix."""
        found = self._lines.get(writer)
        if found is None:
            found = self._lines.setdefault(writer, Lines(label, self.keep))
        return found

    def pipe(self, label: str) -> int | None:
        with self._lock:
            if self._reader is None or self._ended:
                return None
            if label not in self._pipes:
                self._pipes[label] = self._reader.open(self.lines(f"pipe {label}", label).write_bytes)
            return self._pipes[label].writing

    def sent_from_fork(self, label: str, text: str) -> bool:
        """Whether this is a fork of the process that keeps the lines, so that whole lines went through the pipe."""
        if os.getpid() == self._process:
            return False
        writer = (os.getpid(), threading.get_ident(), label)
        whole, end, rest = (self._unsent.pop(writer, "") + text).rpartition("\n")
        self._unsent[writer] = rest
        if end and (pipe := self._pipes.get(label)):
            with suppress(OSError):
                os.write(pipe.writing, (whole + end).encode(errors="backslashreplace"))
        return True

    def show_unended(self) -> None:
        """Keep what has been without the end of its line for a while."""
        for lines in list(self._lines.values()):
            lines.flush(OLD_SECONDS)

    def end(self) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        for lines in list(self._lines.values()):
            lines.flush()
        with self._lock:
            self._ended = True

    def keep(self, line: str) -> None:
        if not self._ended:
            self._sink(line)


class RunLog:
    """The output of one run, as `horae.execution.capture.Output`; leaving the context ends it.

    It costs next to nothing until the run says something.
    """

    __slots__ = ("_make", "_streams")

    def __init__(self, make: Callable[[], Streams]) -> None:
        self._make = make
        self._streams: Streams | None = None

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *exc: object) -> None:
        if self._streams:
            self._streams.end()

    def log(self, level: str, text: str) -> None:
        streams = self._made()
        for line in text[: LINE_LIMIT * LINES_OF_A_RECORD].splitlines():
            if not streams.sent_from_fork(RECORD, f"{level} {line}\n"):
                streams.keep(stamped(level, line))

    def write(self, label: str, text: str) -> None:
        streams = self._made()
        if not streams.sent_from_fork(label, text):
            streams.lines(f"{threading.get_ident()}{label}", label).write(text)

    def descriptor(self, label: str) -> int | None:
        return self._made().pipe(label)

    def lines(self, writer: str, label: str) -> Lines:
        """Where one writer, such as a process elsewhere, writes under that label."""
        return self._made().lines(writer, label)

    def _made(self) -> Streams:
        if self._streams:
            return self._streams
        with _making:
            made = self._streams = self._streams or self._make()
        return made
