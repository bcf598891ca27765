"""Looks for runs in the outbox that no relay of this process takes.

These are entries of the previous release, which are not sorted by provider, and runs of a provider without settings.
"""

from datetime import timedelta

from horae.errors import ProviderNotServed
from horae.queues.routing import Router
from horae.redis.keys import OWN
from horae.store.base import Store
from horae.store.values import ProviderRuns
from horae.words import roughly, runs_wait

POLL_SECONDS = 1.0
PATIENCE = timedelta(seconds=5)
"""A process with the provider's settings publishes a due run long before that."""


class Strays:
    name = "strays"

    def __init__(self, store: Store, router: Router) -> None:
        self._store, self._router = store, router

    async def step(self) -> float:
        """Raises ProviderNotServed, which names the runs and the missing setting."""
        await self._store.outbox.sort()
        served = {*self._router.names, OWN, ""}
        left = [one for one in await self._store.outbox.by_provider() if one.provider not in served]
        if wait := [one for one in left if one.overdue > PATIENCE]:
            raise ProviderNotServed("; ".join(self._said(one) for one in wait))
        return POLL_SECONDS

    def _said(self, runs: ProviderRuns) -> str:
        return (
            f"{runs_wait(runs.outbox)} for provider {runs.provider}, the first for {roughly(runs.overdue)}: "
            f"{self._router.refusal(runs.provider)}"
        )
