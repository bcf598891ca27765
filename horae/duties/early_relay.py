"""Gives messages to a broker that has schedules of its own, before their runs are due.

The broker then delivers them in time even if no relay works at that instant. The entries stay in the outbox: the claim
removes them, and the relay publishes what is due and not claimed; the broker discards that copy.
"""

from collections.abc import Sequence
from datetime import timedelta
from itertools import batched

from horae.errors import MessageTooLarge
from horae.queues.routing import Router
from horae.store.base import Store
from horae.store.values import Upcoming

POLL_SECONDS = 1.0
BATCH = 100


class EarlyRelay:
    """One for each provider that takes messages `ahead` of their time. Several do no harm."""

    def __init__(self, store: Store, router: Router, provider: str, ahead: timedelta) -> None:
        self.name, self.provider = f"early relay {provider}", provider
        self._store, self._router, self._ahead = store, router, ahead

    async def step(self) -> float:
        found = await self._store.outbox.upcoming(self.provider, self._ahead)
        for some in batched(found, BATCH, strict=False):
            await self._place(some)
        return POLL_SECONDS

    async def _place(self, some: Sequence[Upcoming]) -> None:
        try:
            await self._router.schedule(self.provider, [(one.message, one.due) for one in some])
        except MessageTooLarge:
            # The limit was lowered after a run was accepted. The relay reports it when the run is due.
            for one in some if len(some) > 1 else ():
                await self._place([one])
        else:
            await self._store.outbox.placed([one.message for one in some])
