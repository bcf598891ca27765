"""Protects this process while it imports a job file."""

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
    """Import job files inside this block. Their output goes to stderr.

    They cannot close this process's streams, and the working directory is restored.

    A process that a file forks ends with the block. A KeyboardInterrupt that a file raises stays an ordinary
    exception; Ctrl-C raises `Interrupted`.
    """
    ours, here = os.getpid(), Path.cwd()
    with _interruptible(), _stdout_elsewhere():
        try:
            yield
        finally:
            if os.getpid() != ours:
                os._exit(0)  # a fork must not continue this process's work
            with suppress(OSError):
                os.chdir(here)


class Interrupted(BaseException):
    """The user pressed Ctrl-C while a job file was imported."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Distinguish Ctrl-C from a file that raises KeyboardInterrupt itself."""
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
    """Redirect standard output to stderr, in Python and in the file descriptor, so that it cannot mix with `--json`."""
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
    """The current stderr, for a file and for log handlers that keep a reference. It cannot be closed."""

    closed = False

    def close(self) -> None: ...

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)
