"""Publishes a run again whose message the broker has lost: a purged queue, a crash before its fsync, a retention.

The store keeps an index of queued runs. A run keeps its generation, so the claim discards one of two copies.
"""

import logging
from datetime import timedelta

from horae.clock import monotonic
from horae.queues.base import Backlog
from horae.queues.routing import Router
from horae.store.base import Store

log = logging.getLogger(__name__)
POLL_SECONDS = 5.0
BATCH = 200
EMPTY = timedelta(seconds=30)
"""How long the backlog must have been empty. A message on its way to the broker or to a worker takes less."""


class Reconciler:
    """One for each provider. `after`: how long a message may wait if the broker cannot tell that it still has it."""

    def __init__(self, store: Store, router: Router, provider: str, after: timedelta) -> None:
        self.name, self.provider = f"reconciler {provider}", provider
        self._store, self._router, self._after = store, router, after
        self._empty_since: float | None = None

    async def step(self) -> float:
        queued = [one for one in await self._store.outbox.by_provider() if one.provider == self.provider and one.queued]
        if not queued:
            self._empty_since = None
            return POLL_SECONDS
        [runs] = queued
        backlog = await self._router.backlog(self.provider)
        if self._is_empty(backlog):
            return await self._republish(EMPTY, "the broker has no message of any run")
        holds_all = backlog is not None and backlog.messages >= runs.queued
        if runs.oldest >= self._after and not holds_all:
            return await self._republish(self._after, f"no worker took it within {self._after.total_seconds():g} s")
        return min(POLL_SECONDS, EMPTY.total_seconds())

    def _is_empty(self, backlog: Backlog | None) -> bool:
        """Whether the backlog has been empty for long enough."""
        if backlog is None or backlog.messages > 0:
            self._empty_since = None
            return False
        self._empty_since = monotonic() if self._empty_since is None else self._empty_since
        return monotonic() - self._empty_since >= EMPTY.total_seconds()

    async def _republish(self, age: timedelta, why: str) -> float:
        found = await self._store.outbox.republish(self.provider, age, why, BATCH)
        if found:
            extra = {"action": "runs_republished", "provider": self.provider, "runs": found}
            log.warning("%d runs are handed out again, to provider %s: %s", found, self.provider, why, extra=extra)
        return 0.0 if found == BATCH else POLL_SECONDS
