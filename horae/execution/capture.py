"""What a run logs and prints, line by line, to whoever keeps it."""

import io
import logging
import sys
from collections.abc import Buffer, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from horae.clock import isoformat, now

type Sink = Callable[[str], None]


@dataclass(slots=True)
class _Captured:
    """Where a run's lines go, and the last one while it has no end. Its own: runs take turns on one stdout."""

    sink: Sink
    rest: str = ""


_captured: ContextVar[_Captured | None] = ContextVar("horae_captured", default=None)
LINE_LIMIT = 4_000


def sound(text: str) -> str:
    """Text that can be written as UTF-8: half a surrogate pair, as the name of a file may have, is spelled out."""
    return text.encode(errors="backslashreplace").decode()


def stamped(level: str, text: str) -> str:
    """A log line as it is kept: instant, level, text, cut at LINE_LIMIT characters."""
    return f"{isoformat(now())} {level} {sound(text[:LINE_LIMIT])}"[:LINE_LIMIT]


class RunHandler(logging.Handler):
    """Passes records to the sink of the run that they belong to, if any."""

    def emit(self, record: logging.LogRecord) -> None:
        captured = _captured.get()
        if captured is None:
            return
        for line in self.format(record).splitlines():
            captured.sink(stamped(record.levelname, line))


class RunOutput(io.TextIOBase):
    """Stands in for stdout: what a run prints goes to its sink, all else where it went before."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, before: io.TextIOBase) -> None:
        self._before = before
        self.buffer = RunBytes(self)

    def write(self, text: str) -> int:
        captured = _captured.get()
        if captured is None:
            return self._before.write(text)
        *lines, captured.rest = (captured.rest + text).split("\n")
        for line in lines:
            captured.sink(stamped("PRINT", line))
        return len(text)

    def flush(self) -> None:
        self._before.flush()

    def close(self) -> None:
        """Nothing: what it stands in for is not its own, and may be closed before this is collected."""

    def fileno(self) -> int:
        return self._before.fileno()

    def isatty(self) -> bool:
        return self._before.isatty()


class RunBytes(io.RawIOBase):
    """Its `buffer`: what is not text is kept spelled out."""

    def __init__(self, output: RunOutput) -> None:
        self._output = output

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        taken = bytes(data)
        self._output.write(taken.decode(errors="backslashreplace"))
        return len(taken)


@contextmanager
def capturing() -> Iterator[None]:
    """For the life of a process that runs jobs: install the handler and the stand-in for stdout."""
    root, handler, before = logging.getLogger(), RunHandler(), sys.stdout
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    root.addHandler(handler)
    sys.stdout = RunOutput(before)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.stdout = before
        root.removeHandler(handler)


@contextmanager
def to_sink(sink: Sink) -> Iterator[None]:
    """What this task or thread logs and prints goes to `sink`, a last line without an end too."""
    captured = _Captured(sink)
    mark = _captured.set(captured)
    try:
        yield
    finally:
        _captured.reset(mark)
        if captured.rest:
            sink(stamped("PRINT", captured.rest))
