"""Captures what a run logs, prints and writes to stderr, and passes it to the run's output."""

import io
import logging
import os
import sys
from collections.abc import Buffer, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Protocol, TextIO

from horae.execution.pipes import inherited_output
from horae.execution.threads import inherited

PRINT, STDERR, RECORD = "PRINT", "STDERR", ""
"""Labels of lines: PRINT for stdout, STDERR for stderr. Records of `logging` begin with their level."""
STREAMS = {PRINT: "<stdout>", STDERR: "<stderr>"}
QUIET = ("httpx", "httpcore")
"""Libraries that log each request with its URL, which may contain a secret. They log only WARNING and above."""


class Output(Protocol):
    """The receiver of one run's output. Any thread may call it."""

    def log(self, level: str, text: str) -> None:
        """Receives a record of `logging`, of one or more lines."""

    def write(self, stream: str, text: str) -> None:
        """Receives text that was written to PRINT or STDERR, with its line ends."""

    def descriptor(self, label: str) -> int | None:
        """A file descriptor for lines with this label from another process of the run; None if that process writes to
        this process's own streams.
        """


_output: ContextVar[Output | None] = ContextVar("horae_output", default=None)
_whole_process: list[Output] = []
"""The output of the run, if this whole process is for one run."""


def current_output() -> Output | None:
    """The output of the run that the calling code is part of."""
    return _output.get() or (_whole_process[-1] if _whole_process else None)


class RunHandler(logging.Handler):
    """Passes records to the output of their run, if they have one."""

    def emit(self, record: logging.LogRecord) -> None:
        output = current_output()
        if output is None:
            return
        try:
            output.log(record.levelname, self.format(record))
        except Exception:
            self.handleError(record)  # a log call with wrong arguments is reported on stderr, as Python does


class RunStream(io.TextIOWrapper):
    """Replaces stdout or stderr: the text of a run goes to its output, and all other text to the original stream."""

    mode = "w"

    def __init__(self, before: TextIO, stream: str) -> None:
        raw = RunBytes(before, stream)
        super().__init__(raw, "utf-8", "backslashreplace", line_buffering=True, write_through=True)

    def isatty(self) -> bool:
        return current_output() is None and super().isatty()

    def close(self) -> None:
        """Only flush, because other runs of this process write here too."""
        self.flush()


class RunBytes(io.RawIOBase):
    """The `buffer` of the replaced stream."""

    def __init__(self, before: TextIO, stream: str) -> None:
        self._before, self._stream = before, stream
        self.name = STREAMS[stream]

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        taken = bytes(data)
        output = current_output()
        text = taken.decode(errors="backslashreplace")
        if output:
            output.write(self._stream, text)
        else:
            self._before.write(text)
        return len(taken)

    def flush(self) -> None:
        if not self._before.closed:
            self._before.flush()

    def fileno(self) -> int:
        return self._before.fileno()

    def isatty(self) -> bool:
        return self._before.isatty()

    def close(self) -> None:
        """Does nothing, because the original stream belongs to someone else."""


@contextmanager
def capturing() -> Iterator[None]:
    """Captures log records, stdout, stderr and the output of threads, while the process runs jobs."""
    root, handler, level = logging.getLogger(), RunHandler(logging.INFO), logging.getLogger().level
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    out, err = sys.stdout, sys.stderr
    with ExitStack() as stack:
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        _hear_info(root, stack, level)
        sys.stdout, sys.stderr = RunStream(out, PRINT), RunStream(err, STDERR)
        stack.callback(_put_back, out, err)
        stack.enter_context(inherited())
        stack.enter_context(inherited_output(_descriptor, (PRINT, STDERR)))
        yield


def _descriptor(stream: str) -> int | None:
    output = current_output()
    return output.descriptor(stream) if output else None


def _before_fork() -> None:
    """A fork has only a copy of the object that keeps the lines, so it writes to files that were opened before."""
    if output := current_output():
        for label in (PRINT, STDERR, RECORD):
            output.descriptor(label)


os.register_at_fork(before=_before_fork)


def _hear_info(root: logging.Logger, stack: ExitStack, level: int) -> None:
    """Let records of INFO and above reach the handler of the runs, and only the same records as before the other
    handlers.
    """
    if level <= logging.INFO:
        return
    for other in root.handlers:
        if not isinstance(other, RunHandler):
            quiet = _AsBefore(level)
            other.addFilter(quiet)
            stack.callback(other.removeFilter, quiet)
    root.setLevel(logging.INFO)
    stack.callback(root.setLevel, level)
    for name in QUIET:
        library = logging.getLogger(name)
        stack.callback(library.setLevel, library.level)
        library.setLevel(max(library.level, logging.WARNING))


class _AsBefore(logging.Filter):
    """Drops records that the level of the root logger dropped before. Loggers with their own level are not affected."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._level or _has_own_level(record.name)


def _has_own_level(name: str) -> bool:
    logger: logging.Logger | None = logging.getLogger(name)
    while logger and logger.parent:
        if logger.level:
            return True
        logger = logger.parent
    return False


def _put_back(out: TextIO, err: TextIO) -> None:
    sys.stdout, sys.stderr = out, err


@contextmanager
def to_output(output: Output) -> Iterator[None]:
    """Send the logs, prints and stderr of this task or thread, and of those that it starts, to `output`."""
    mark = _output.set(output)
    try:
        yield
    finally:
        _output.reset(mark)


def belongs_to(output: Output) -> None:
    """From now on the whole process is one run, with all its threads and forks."""
    _whole_process[:] = [output]
