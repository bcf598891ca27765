"""Which jobs are paused, for those who must not wait for the store."""

import asyncio
import logging
from collections.abc import Callable

from horae.clock import monotonic
from horae.errors import StoreError
from horae.store.base import Pauses

log = logging.getLogger(__name__)
FRESH_SECONDS = 5.0
"""For so long an answer is good enough."""
WAIT_SECONDS = 1.0
"""A store that takes longer to answer is away."""


class PausedJobs:
    """Asks the store at most every five seconds. While it is away, what it said last holds."""

    def __init__(self, pauses: Pauses, clock: Callable[[], float] = monotonic) -> None:
        self._pauses, self._clock = pauses, clock
        self._known: frozenset[str | None] = frozenset()
        self._asked_at: float | None = None
        self._asking = asyncio.Lock()

    async def holds(self, job: str) -> bool:
        """Whether that job, or everything, is paused."""
        async with self._asking:
            if self._asked_at is None or self._clock() - self._asked_at >= FRESH_SECONDS:
                await self._ask()
                self._asked_at = self._clock()
        return bool(self._known & {job, None})

    async def _ask(self) -> None:
        try:
            self._known = await asyncio.wait_for(self._pauses.paused(), WAIT_SECONDS)
        except (StoreError, TimeoutError) as error:
            log.debug("cannot read which jobs are paused: %s", error, extra={"action": "pauses_unknown"})
