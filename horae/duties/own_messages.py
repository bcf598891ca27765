"""Publishes due runs of jobs that only one program declares. The relays of workers publish all others."""

from horae.store.base import Store

POLL_SECONDS = 0.25
BATCH = 200


class OwnMessages:
    """For a program on a shared store, because its settings may lack the providers of other entries."""

    name = "own messages"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def step(self) -> float:
        return 0.0 if await self._store.outbox.publish_own(BATCH) else POLL_SECONDS
