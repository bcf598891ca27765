"""The logs of the runs of this process, on their way to the ledger."""

import asyncio
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from horae.errors import StoreError
from horae.execution.capture import RECORD
from horae.execution.lines import LINE_LIMIT, OLD_SECONDS, Lines, Sink, stamped
from horae.execution.pipes import Pipe, PipeReader
from horae.store.base import Ledger

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.5
BUFFER_LINES = 10_000
LINES_OF_A_RECORD = 20
"""In characters of LINE_LIMIT each: what is kept of one log record, such as a long traceback."""


class RunLog:
    """The output of one run; callable from any thread. What comes after its end is dropped."""

    def __init__(self, sink: Sink, pipes: PipeReader | None = None) -> None:
        self._sink, self._ended = sink, False
        self._streams: dict[str, Lines] = {}
        self._reader, self._pipes = pipes, dict[str, Pipe]()
        self._lock, self._process = threading.Lock(), os.getpid()
        self._unsent: dict[tuple[int, int, str], str] = {}

    def log(self, level: str, text: str) -> None:
        for line in text[: LINE_LIMIT * LINES_OF_A_RECORD].splitlines():
            if not self._sent_from_fork(RECORD, f"{level} {line}\n"):
                self._keep(stamped(level, line))

    def write(self, stream: str, text: str) -> None:
        if self._sent_from_fork(stream, text):
            return
        self.stream(f"{threading.get_ident()}{stream}", stream).write(text)

    def stream(self, writer: str, label: str) -> Lines:
        """The lines of one of those who write under that label: lines of two must not mix."""
        found = self._streams.get(writer)
        if found is None:
            found = self._streams.setdefault(writer, Lines(label, self._keep))
        return found

    def descriptor(self, label: str) -> int | None:
        """A pipe for the lines of other processes of this run."""
        with self._lock:
            if self._reader is None or self._ended:
                return None
            if label not in self._pipes:
                self._pipes[label] = self._reader.open(self.stream(f"pipe {label}", label).write_bytes)
            return self._pipes[label].writing

    def _sent_from_fork(self, label: str, text: str) -> bool:
        """Whether this is a fork of the process that keeps the lines, so that they went through the pipe."""
        if os.getpid() == self._process:
            return False
        writer = (os.getpid(), threading.get_ident(), label)
        whole, end, rest = (self._unsent.pop(writer, "") + text).rpartition("\n")
        self._unsent[writer] = rest
        if end and (pipe := self._pipes.get(label)):
            with suppress(OSError):  # lines go in one piece each, or those of several forks would mix
                os.write(pipe.writing, (whole + end).encode(errors="backslashreplace"))
        return True

    def show_unended(self) -> None:
        """Keep what has been without the end of its line for a while."""
        for stream in list(self._streams.values()):
            stream.flush(OLD_SECONDS)

    def end(self) -> None:
        for pipe in self._pipes.values():
            pipe.close()
        for stream in list(self._streams.values()):
            stream.flush()
        with self._lock:
            self._ended = True

    def _keep(self, line: str) -> None:
        if not self._ended:
            self._sink(line)


class RunLogs:
    """Gathers lines and writes them twice a second.

    While the store is away it keeps the newest BUFFER_LINES of each run.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: dict[str, deque[str]] = {}
        self._listeners: dict[str, Sink] = {}
        self._open: set[RunLog] = set()
        self._reader = PipeReader()

    def listen(self, run_id: str, listener: Sink) -> None:
        """`listener` hears each line of that run too, in whatever thread it comes."""
        self._listeners[run_id] = listener

    @contextmanager
    def open(self, run_id: str) -> Iterator[RunLog]:
        """That run's log, for as long as it goes on."""
        log = RunLog(self._sink(run_id), self._reader)
        self._open.add(log)
        try:
            yield log
        finally:
            self._open.discard(log)
            log.end()

    def _sink(self, run_id: str) -> Sink:
        lines, listener = self._lines, self._listeners.get(run_id)

        def keep(line: str) -> None:
            kept = lines.get(run_id)
            if kept is None:
                kept = lines.setdefault(run_id, deque(maxlen=BUFFER_LINES))
            kept.append(line)
            if listener:
                listener(line)

        return keep

    def has(self, run_id: str) -> bool:
        """Whether lines of it are here, or somebody listens to it."""
        return run_id in self._lines or run_id in self._listeners

    async def flush(self, run_id: str | None = None) -> None:
        """Write what is there, of one run or of all. Nothing is lost when the store is away."""
        for one in [run_id] if run_id else list(self._lines):
            lines = self._lines.get(one)
            if not lines:
                continue
            taken = [lines.popleft() for _ in range(len(lines))]
            try:
                await self._ledger.append_log(one, taken)
            except StoreError as error:
                lines.extendleft(reversed(taken))
                log.debug("run log waits for the store: %s", error, extra={"action": "run_log_waits", "run_id": one})
                return

    async def end(self, run_id: str) -> None:
        """A run is settled: write the rest of its lines."""
        self._listeners.pop(run_id, None)
        await self.flush(run_id)
        if not self._lines.get(run_id):
            self._lines.pop(run_id, None)

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for one in list(self._open):
                one.show_unended()
            await self.flush()
