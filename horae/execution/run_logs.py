"""The logs of the runs of this process, on their way to the ledger."""

import asyncio
import logging
from collections import deque

from horae.errors import StoreError
from horae.execution.capture import Sink
from horae.store.base import Ledger

log = logging.getLogger(__name__)
FLUSH_SECONDS = 0.5
BUFFER_LINES = 10_000


class RunLogs:
    """Gathers lines and writes them twice a second.

    While the store is away it keeps the newest BUFFER_LINES of each run.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: dict[str, deque[str]] = {}
        self._listeners: dict[str, Sink] = {}

    def listen(self, run_id: str, listener: Sink) -> None:
        """`listener` hears each line of that run too, in whatever thread it comes."""
        self._listeners[run_id] = listener

    def sink(self, run_id: str) -> Sink:
        """Where that run's lines go; callable from any thread."""
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
            await self.flush()
