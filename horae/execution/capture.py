"""What a run logs and prints, line by line, to whoever keeps it."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from horae.clock import isoformat, now

type Sink = Callable[[str], None]

_sink: ContextVar[Sink | None] = ContextVar("horae_log_sink", default=None)
LINE_LIMIT = 4_000


def stamped(level: str, text: str) -> str:
    """A log line as it is kept: instant, level, text, cut at LINE_LIMIT characters."""
    return f"{isoformat(now())} {level} {text}"[:LINE_LIMIT]


class RunHandler(logging.Handler):
    """Passes records to the sink of the run that they belong to, if any."""

    def emit(self, record: logging.LogRecord) -> None:
        sink = _sink.get()
        if sink is None:
            return
        for line in self.format(record).splitlines():
            sink(stamped(record.levelname, line))


class RunOutput(io.TextIOBase):
    """Stands in for stdout: what a run prints goes to its sink, all else where it went before."""

    def __init__(self, before: io.TextIOBase) -> None:
        self._before = before
        self._rest = ""

    def write(self, text: str) -> int:
        sink = _sink.get()
        if sink is None:
            return self._before.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            sink(stamped("PRINT", line))
        return len(text)

    def flush(self) -> None:
        self._before.flush()

    def fileno(self) -> int:
        return self._before.fileno()

    def isatty(self) -> bool:
        return self._before.isatty()


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
    """What this task or thread logs and prints goes to `sink`."""
    mark = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(mark)
