"""Reads the numbers of the store and exposes them to Prometheus."""

from datetime import timedelta

from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.store.base import Store

POLL_SECONDS = 5.0


class Figures:
    name = "figures"

    def __init__(self, store: Store, registry: Registry, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._jobs = frozenset(job.name for job in registry)

    async def step(self) -> float:
        found = await self._store.ledger.figures()
        self._metrics.ledger.show(
            self._jobs,
            {(job, verdict.value): count for (job, verdict), count in found.settled.items()},
            {(job, what.value): count for (job, what), count in found.noticed.items()},
            {
                "outbox_overdue_seconds": found.overdue / timedelta(seconds=1),
                "outbox_entries": found.outbox,
                "runs_waiting": found.waiting,
                "runs_claimed": found.running,
                "dead_letters": found.dead_letters,
            },
        )
        return POLL_SECONDS
