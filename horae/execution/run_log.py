"""The log of one run: records, output, output of its subprocesses and of its forks."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress

from horae.execution.capture import RECORD
from horae.execution.lines import LINE_LIMIT, OLD_SECONDS, Lines, Sink, stamped
from horae.execution.pipes import Pipe, PipeReader

LINES_OF_A_RECORD = 20
"""The longest stored log record, such as a traceback, as a multiple of LINE_LIMIT characters."""
_making = threading.Lock()


class Streams:
    """Receives everything that a run writes. Text after `end` is dropped."""

    def __init__(self, sink: Sink, reader: PipeReader | None = None) -> None:
        """`reader` reads the output of other processes of the run. Without it, they write to this process's own
        streams.
        """
        self._sink, self._reader = sink, reader
        self._ended, self._process = False, os.getpid()
        self._lock = threading.Lock()
        self._lines: dict[str, Lines] = {}
        self._pipes: dict[str, Pipe] = {}
        self._unsent: dict[tuple[int, int, str], str] = {}
        """By fork, thread and label: the line that has no end yet."""

    def lines(self, writer: str, label: str) -> Lines:
        """The lines of one writer with this label, because lines of two writers must not mix."""
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
        """Whether this is a fork of the process that keeps the lines. Its whole lines have gone through the pipe."""
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
        """Pass on text that has had no line end for a while."""
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
    """The output of one run, as `horae.execution.capture.Output`. Leaving the context ends it. It costs next to nothing
    until the run writes.
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
        """The file descriptor for one writer with this label, such as another process."""
        return self._made().lines(writer, label)

    def _made(self) -> Streams:
        if self._streams:
            return self._streams
        with _making:
            made = self._streams = self._streams or self._make()
        return made
