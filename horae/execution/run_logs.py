"""Writes the logs of the runs of this process to the ledger."""

import asyncio
import logging
from collections import deque
from functools import partial

from horae.errors import StoreError
from horae.execution.lines import Sink
from horae.execution.pipes import PipeReader
from horae.execution.run_log import RunLog, Streams
from horae.store.base import Ledger

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.5
BUFFER_LINES = 10_000


class RunLogs:
    """Collects lines and writes them twice a second. While the store does not answer, it keeps the newest BUFFER_LINES
    of each run.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: dict[str, deque[str]] = {}
        self._listeners: dict[str, Sink] = {}
        self._open: dict[str, Streams] = {}
        self._reader = PipeReader()

    def listen(self, run_id: str, listener: Sink) -> None:
        """`listener` gets each line of that run too, in the thread in which the line comes."""
        self._listeners[run_id] = listener

    def open(self, run_id: str) -> RunLog:
        """The log of a run that begins. Call `end` when the run is settled."""
        return RunLog(partial(self._streams, run_id))

    def _streams(self, run_id: str) -> Streams:
        found = self._open[run_id] = Streams(self._sink(run_id), self._reader)
        return found

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
        """Whether `end` is needed: lines are kept here, or a listener is set."""
        return run_id in self._lines or run_id in self._open or run_id in self._listeners

    async def flush(self, run_id: str | None = None) -> None:
        """Write the collected lines of one run, or of all. Nothing is lost if the store does not answer."""
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
        """The run is settled: write the rest of its lines."""
        self._listeners.pop(run_id, None)
        self._open.pop(run_id, None)
        await self.flush(run_id)
        if not self._lines.get(run_id):
            self._lines.pop(run_id, None)

    async def keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            for streams in list(self._open.values()):
                streams.show_unended()
            await self.flush()
