"""Returns the runs whose lease ran out to the outbox, and drops what is older than the retention."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta

from horae.clock import monotonic
from horae.errors import StoreError
from horae.metrics.process import Metrics
from horae.store.base import Store

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5
BATCH = 100
PRUNE_SECONDS = 300.0
SPARE_SECONDS = 1.0


class Sweeper:
    name = "sweeper"

    def __init__(self, store: Store, metrics: Metrics, lease: timedelta) -> None:
        self._store, self._metrics = store, metrics
        self._first_word_seconds = lease.total_seconds() / 3 + SPARE_SECONDS
        self._away, self._sweeps_from = False, 0.0
        self._pruned_at = -PRUNE_SECONDS
        self._pruning: AsyncIterator[int] | None = None

    async def step(self) -> float:
        if self._away:
            await self._store.claims.sweep(0)
            # Nobody could renew a lease meanwhile: those who live speak first.
            self._away, self._sweeps_from = False, monotonic() + self._first_word_seconds
        if monotonic() < self._sweeps_from:
            return POLL_SECONDS
        try:
            return await self._step()
        except StoreError:
            self._away = True
            raise

    async def _step(self) -> float:
        lapsed = await self._store.claims.sweep(BATCH)
        for one in lapsed:
            self._metrics.lapsed.inc()
            outcome = f"is {one.verdict.value}" if one.verdict else "goes to another worker"
            log.warning(
                "the lease of %s on %s expired; the run %s",
                one.worker,
                one.job,
                outcome,
                extra={"action": "lease_lapsed", "job": one.job, "run_id": one.run_id, "worker": one.worker},
            )
        if self._pruning is None and monotonic() - self._pruned_at >= PRUNE_SECONDS:
            self._pruning = self._store.ledger.prune()
        if self._pruning is not None:
            await self._prune(self._pruning)
        return 0.0 if len(lapsed) == BATCH or self._pruning else POLL_SECONDS

    async def _prune(self, pruning: AsyncIterator[int]) -> None:
        """Take one step, so that a long pruning does not delay the next sweep."""
        try:
            if await anext(pruning, None) is None:
                self._pruning, self._pruned_at = None, monotonic()
        except StoreError:
            self._pruning = None  # begin again when the store answers
            raise
