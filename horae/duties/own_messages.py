"""Publishes what falls due of jobs that one program alone declares, and leaves the rest to the relays of workers."""

from horae.store.base import Store

POLL_SECONDS = 0.25
BATCH = 200


class OwnMessages:
    """For a program on a shared store: its settings may not name the providers that other entries need."""

    name = "own messages"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def step(self) -> float:
        return 0.0 if await self._store.outbox.publish_own(BATCH) else POLL_SECONDS
