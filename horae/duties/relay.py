"""Takes the due entries of one provider out of the outbox, publishes them, then removes them.

A relay that dies in between leads to a copy, which the claim discards.
"""

import logging
from collections.abc import Sequence
from datetime import timedelta

from horae.errors import MessageTooLarge
from horae.messages import Message
from horae.metrics.process import Metrics
from horae.queues.routing import Router
from horae.redis.keys import OWN
from horae.store.base import Outbox, Store

log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
BATCH = 200
HOLD = timedelta(seconds=5)
"""For how long no other relay touches what this one took."""


class Relay:
    """One for each provider, so that a provider that is down delays only its own messages."""

    def __init__(self, store: Store, router: Router, metrics: Metrics, provider: str) -> None:
        self.name = f"relay {provider}"
        self.provider = provider
        self._store, self._router, self._metrics = store, router, metrics
        # The relay of the default provider also takes runs without a provider, and those that only one program runs.
        self._takes = (provider, "", OWN) if provider == router.choose() else (provider,)

    async def step(self) -> float:
        taken = await self._store.outbox.take(self._takes, BATCH, HOLD)
        if taken.entries:
            await self._publish([entry.message for entry in taken.entries])
        return POLL_SECONDS if taken.next_in is None else min(POLL_SECONDS, taken.next_in.total_seconds())

    async def _publish(self, messages: Sequence[Message]) -> None:
        try:
            await publish(self._store.outbox, self._router, self.provider, messages)
        except MessageTooLarge as error:
            if len(messages) == 1:
                # The limit was lowered after it was accepted. It comes up again, and holds up nothing else.
                extra = {"action": "message_too_large", "job": messages[0].job, "run_id": messages[0].run_id}
                log.error("a message cannot be published: %s", error, extra=extra)
                return
            for message in messages:
                await self._publish([message])
        else:
            self._metrics.published.labels(self.provider).inc(len(messages))


async def publish(outbox: Outbox, router: Router, provider: str, messages: Sequence[Message]) -> None:
    """Give messages to the broker, then remove their entries. Raises QueueUnavailable; then they come up again."""
    await router.publish(provider, messages)
    await outbox.published(messages, provider)
