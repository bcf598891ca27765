"""Imports a job file without letting it hurt the process that imports it."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO, cast

STDOUT, STDERR = 1, 2


@contextmanager
def contained() -> Iterator[None]:
    """What is imported inside prints to stderr, cannot close our streams, and leaves us in our working directory.

    A process that it forks ends with the block. A KeyboardInterrupt that it raises is an exception like others; one
    that Ctrl-C raised goes on as `Interrupted`.
    """
    ours, here = os.getpid(), Path.cwd()
    with _interruptible(), _stdout_elsewhere():
        try:
            yield
        finally:
            if os.getpid() != ours:
                os._exit(0)  # the other process would go on with our work
            with suppress(OSError):
                os.chdir(here)


class Interrupted(BaseException):
    """The user pressed Ctrl-C while a job file was imported."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Tells Ctrl-C from a file that raises KeyboardInterrupt itself."""
    usual = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted

    if usual:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def _stdout_elsewhere() -> Iterator[None]:
    """Standard output is stderr, for Python and for what is below it: nothing of it belongs into somebody's --json."""
    with suppress(AttributeError, ValueError):
        sys.stdout.flush()
    try:
        kept = os.dup(STDOUT)
        os.dup2(STDERR, STDOUT)
    except OSError:  # this process has none
        yield
        return
    try:
        with redirect_stdout(cast(TextIO, _Aside())):
            yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


class _Aside:
    """Stderr of the moment, for a file and for the log handlers that keep it; nobody can close it."""

    closed = False

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)
