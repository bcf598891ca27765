"""Reads the store's figures and shows them to Prometheus."""

from datetime import timedelta

from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.store.base import Store
from horae.store.values import ProviderRuns

POLL_SECONDS = 5.0
DEFAULT = "(default)"
"""The label of runs that name no provider."""


class Figures:
    name = "figures"

    def __init__(self, store: Store, registry: Registry, metrics: Metrics) -> None:
        self._store, self._metrics = store, metrics
        self._jobs = frozenset(job.name for job in registry)

    async def step(self) -> float:
        found = await self._store.ledger.figures()
        providers = await self._store.outbox.by_provider()
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
            {one.provider or DEFAULT: _gauges(one) for one in providers},
        )
        return POLL_SECONDS


def _gauges(runs: ProviderRuns) -> dict[str, float]:
    return {
        "provider_outbox_entries": runs.outbox,
        "provider_overdue_seconds": runs.overdue / timedelta(seconds=1),
        "provider_queued_runs": runs.queued,
        "provider_queued_seconds": runs.oldest / timedelta(seconds=1),
    }
