"""The ready list: messages that a full worker received and could not begin, for any worker with a free slot.

It is a stream of the store's own server, read like the streams of the provider `redis`. The run's row stays as it is:
`queued`, with the same generation, so pauses, cancellations and moves reach it as before.
"""

from collections.abc import Sequence

from horae.messages import Priority
from horae.queues.base import Delivery
from horae.queues.redis import TIMEOUT_SECONDS, RedisConsumer, client_of, translated
from horae.redis.keys import FIELD, READY, stream_of
from horae.settings import Settings

MOST = 1000
"""No more messages are put into the list while it has this many, so that a backlog stays at its broker."""


class ReadyList:
    """Connects at the first use."""

    def __init__(self, settings: Settings) -> None:
        assert settings.store.url
        self._url, self._settings = settings.store.url.get_secret_value(), settings
        self._client = client_of(self._url, TIMEOUT_SECONDS, settings.namespace, settings.store)

    def open_consumer(self, worker: str) -> RedisConsumer:
        limit = self._settings.queue.message_limit_bytes
        return RedisConsumer(self._url, self._settings.namespace, limit, worker, self._settings.store, [READY])

    async def room(self) -> int:
        """How many more messages the list takes. Raises QueueUnavailable."""
        with translated(self._url):
            async with self._client.pipeline(transaction=False) as pipe:
                for priority in Priority:
                    pipe.xlen(self._stream(priority))
                lengths: list[int] = await pipe.execute()
        return max(0, MOST - sum(lengths))

    async def put(self, deliveries: Sequence[Delivery]) -> None:
        """On return the store has them, so they may be acknowledged. Raises QueueUnavailable."""
        with translated(self._url):
            async with self._client.pipeline(transaction=False) as pipe:
                for body, message in ((one.body, one.message) for one in deliveries):
                    assert message, "a message that cannot be read becomes a dead letter"
                    pipe.xadd(self._stream(message.priority), {FIELD: body})
                await pipe.execute()

    def _stream(self, priority: Priority) -> str:
        return stream_of(self._settings.namespace, priority, READY)

    async def close(self) -> None:
        await self._client.aclose()
