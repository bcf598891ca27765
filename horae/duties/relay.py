"""Takes due entries from the outbox, publishes them, then removes them. If a relay dies in between, a copy is
published.
"""

import logging
from collections import defaultdict
from datetime import timedelta

from horae.errors import MessageTooLarge, QueueError
from horae.messages import Message
from horae.metrics.process import Metrics
from horae.queues.routing import Router
from horae.store.base import Outbox, Store

log = logging.getLogger(__name__)
POLL_SECONDS = 0.25
BATCH = 200
HOLD = timedelta(seconds=5)
"""No other relay takes the same entries for this time."""


class Relay:
    name = "relay"

    def __init__(self, store: Store, router: Router, metrics: Metrics) -> None:
        self._store, self._router, self._metrics = store, router, metrics

    async def step(self) -> float:
        taken = await self._store.outbox.take(BATCH, HOLD)
        by_provider: dict[str, list[Message]] = defaultdict(list)
        for entry in taken.entries:
            by_provider[self._router.fitting(entry.provider or None)].append(entry.message)
        trouble: QueueError | None = None
        for provider, messages in by_provider.items():
            try:
                await self._publish(provider, messages)
            except QueueError as error:
                trouble = error  # publish the messages of the other providers anyway
        if trouble:
            raise trouble
        return POLL_SECONDS if taken.next_in is None else min(POLL_SECONDS, taken.next_in.total_seconds())

    async def _publish(self, provider: str, messages: list[Message]) -> None:
        try:
            await publish(self._store.outbox, self._router, provider, messages)
        except MessageTooLarge as error:
            if len(messages) == 1:
                # The limit was lowered after the run was accepted. The message comes up again, and does not block
                # others.
                extra = {"action": "message_too_large", "job": messages[0].job, "run_id": messages[0].run_id}
                log.error("a message cannot be published: %s", error, extra=extra)
                return
            for message in messages:
                await self._publish(provider, [message])
        else:
            self._metrics.published.labels(provider).inc(len(messages))


async def publish(outbox: Outbox, router: Router, provider: str, messages: list[Message]) -> None:
    """Publish messages at the broker, then remove their entries. Raises QueueUnavailable; the messages then come up
    again.
    """
    await router.publish(provider, messages)
    await outbox.published(messages)
