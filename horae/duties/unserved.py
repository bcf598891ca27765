"""Looks for runs in the outbox that no relay of this process takes.

These are entries of the previous release, which are not sorted by provider, and runs of a provider without settings.
"""

from collections.abc import Sequence
from datetime import timedelta

from horae.errors import ProviderNotServed
from horae.queues.routing import Router
from horae.redis.keys import OWN
from horae.store.base import Store
from horae.store.values import ProviderRuns
from horae.words import roughly, runs_wait

POLL_SECONDS = 1.0
BATCH = 200
PATIENCE = timedelta(seconds=5)
"""A process with the provider's settings publishes a due run long before that."""


class Unserved:
    name = "unserved"

    def __init__(self, store: Store, router: Router, after: timedelta) -> None:
        """`after`: after how long a message that no worker took counts as lost."""
        self._store, self._router, self._after = store, router, after

    async def step(self) -> float:
        """Raises ProviderNotServed, which names the runs and the missing setting."""
        await self._store.outbox.sort()
        served = {*self._router.names, OWN, ""}
        left = [one for one in await self._store.outbox.by_provider() if one.provider not in served]
        if any(one.queued for one in left) and await self._store.moves.all():
            await self._follow(left)
        if wait := [one for one in left if one.overdue > PATIENCE]:
            raise ProviderNotServed("; ".join(self._said(one) for one in wait))
        return POLL_SECONDS

    async def _follow(self, left: Sequence[ProviderRuns]) -> None:
        """Hand out again what an unserved provider kept for too long: with a move record it goes to another one."""
        why = f"no worker took the message within {self._after.total_seconds():g} s"
        for one in left:
            if one.queued and one.oldest >= self._after:
                await self._store.outbox.republish(one.provider, self._after, why, BATCH)

    def _said(self, runs: ProviderRuns) -> str:
        return (
            f"{runs_wait(runs.outbox)} for provider {runs.provider}, the first for {roughly(runs.overdue)}: "
            f"{self._router.refusal(runs.provider)}"
        )
