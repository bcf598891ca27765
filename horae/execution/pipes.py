"""Captures the output of subprocesses of a run in this process. They get pipes of the run instead of this process's own
output. A thread reads the pipes, because a job may block the event loop while it waits for its subprocess, and a full
pipe would block the subprocess.
"""

import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

READ_BYTES = 64 * 1024

type Descriptor = Callable[[str], int | None]


class Pipe:
    """A pipe: one end for subprocesses, and one that is read here until the last subprocess has closed its end."""

    def __init__(self, hear: Callable[[bytes], None]) -> None:
        self._hear = hear
        self._lock, self._done = threading.Lock(), False
        self.reading, self.writing = os.pipe()
        os.set_blocking(self.reading, False)

    def close(self) -> None:
        """Read what has been written, and give the pipe to no more subprocesses. Later output of running ones is
        dropped.
        """
        os.close(self.writing)
        self.read()

    def read(self) -> bool:
        """Read what is available; false at the end."""
        with self._lock, suppress(BlockingIOError):
            while not self._done and (data := os.read(self.reading, READ_BYTES)):
                self._hear(data)
            return False
        return True

    def done(self) -> None:
        with self._lock:
            self._done = True
            os.close(self.reading)


class PipeReader:
    """The thread that reads all pipes of this process. The first pipe starts it."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._new: list[Pipe] = []
        self._thread: threading.Thread | None = None
        self._woken, self._wake = os.pipe()

    def open(self, hear: Callable[[bytes], None]) -> Pipe:
        """`hear` is called in this thread, and in the thread that closes the pipe."""
        pipe = Pipe(hear)
        with self._lock:
            self._new.append(pipe)
            if self._thread is None:
                self._selector.register(self._woken, selectors.EVENT_READ)
                self._thread = threading.Thread(target=self._read, name="pipes of runs", daemon=True)
                self._thread.start()
        os.write(self._wake, b".")
        return pipe

    def _read(self) -> None:
        while True:
            for key, _ in self._selector.select():
                pipe = key.data
                if pipe is None:
                    os.read(self._woken, READ_BYTES)
                    self._take_up()
                elif not pipe.read():
                    self._selector.unregister(pipe.reading)
                    pipe.done()

    def _take_up(self) -> None:
        with self._lock:
            new, self._new = self._new, []
        for pipe in new:
            self._selector.register(pipe.reading, selectors.EVENT_READ, pipe)


@contextmanager
def inherited_output(descriptor: Descriptor, streams: tuple[str, str]) -> Iterator[None]:
    """Subprocesses that would inherit stdout or stderr get the result of `descriptor` for that stream instead, if
    any.
    """
    begin = subprocess.Popen.__init__

    def begin_heard(self: Any, *args: Any, **kwargs: Any) -> None:
        for place, (name, stream) in enumerate(zip(("stdout", "stderr"), streams, strict=True), start=4):
            if len(args) <= place and kwargs.get(name) is None and (found := descriptor(stream)) is not None:
                kwargs[name] = found
        begin(self, *args, **kwargs)

    subprocess.Popen.__init__ = begin_heard  # type: ignore[method-assign]
    try:
        yield
    finally:
        subprocess.Popen.__init__ = begin  # type: ignore[method-assign]
