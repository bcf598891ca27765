"""Receives messages. A consumer exists on a queue only while a worker asks, and only for as many messages as it asks
for.

Quorum queues limit each consumer and not a channel. So a worker that waits on three queues may get three messages;
those beyond its request go back at once. A full worker holds no message, so the broker's `consumer_timeout` ends
nothing: the worker claims a run and acknowledges its message before it begins.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from horae.clock import monotonic
from horae.errors import QueueError, QueueUnavailable
from horae.messages import Priority
from horae.queues.base import Delivery
from horae.queues.decoding import delivery_of
from horae.queues.priorities import wheel
from horae.queues.rabbitmq import RabbitSettings
from horae.queues.rabbitmq.link import TIMEOUT_SECONDS, Link, queue_of, translated

FEW = 2
"""Up to this number it is quicker to get messages singly."""
ABANDONED = timedelta(seconds=5)
"""A worker claims and acknowledges quickly. If it has not after this time, it could not."""
QUIET_SECONDS = 0.1
"""Other workers may have taken the counted messages. After this silence no more are expected."""


class Heard(dict[str, Any]):
    """The callbacks of a channel, by consumer. One may still come for a consumer that was cancelled."""

    def __init__(self, callback: Callable[[Any], Awaitable[None]]) -> None:
        super().__init__()
        self._callback = callback

    def get(self, key: str, default: Any = None) -> Any:
        return self._callback


class RabbitConsumer:
    def __init__(self, table: RabbitSettings, namespace: str, limit_bytes: int, name: str) -> None:
        self._link, self._limit_bytes, self._name = Link(table, namespace), limit_bytes, name
        self._queues = {priority: queue_of(namespace, priority) for priority in Priority}
        self._arrived: deque[Delivery] = deque()
        self._news = asyncio.Event()
        self._wheel = wheel()
        self._channel: Any = None
        self._asking = asyncio.Lock()
        self._unsettled: dict[int, float] = {}
        """Delivery tags of the channel that were neither acknowledged nor returned, with the time of their arrival."""
        self._consumers = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if limit <= 0:
            return []
        await self._steps(self._look(limit))
        if not self._arrived and wait:
            await self._wait(wait)
        found = [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]
        await self._steps(self._give_back())
        return found

    async def _steps(self, asked: Coroutine[Any, Any, None]) -> None:
        """Finish requests to the broker even if the caller is cancelled. Otherwise the client closes the channel."""
        task = asyncio.create_task(self._in_turn(asked))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            raise

    async def _in_turn(self, asked: Coroutine[Any, Any, None]) -> None:
        async with self._asking:
            try:
                with translated(self._link.url):
                    await asked
            except QueueError:
                await self._link.close()
                raise

    async def _ready(self) -> Any:
        channel = await self._link.channel()
        if channel is not self._channel:
            # The broker delivers the messages of the previous channel again.
            self._channel, self._unsettled = channel, {}
            self._arrived.clear()
            channel.consumers = Heard(self._hear)
        return channel

    async def _look(self, limit: int) -> None:
        channel = await self._ready()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await self._give_up(channel)
            for priority in next(self._wheel) if not self._arrived else ():
                missing = limit - len(self._arrived)
                if missing <= 0:
                    break
                queue = self._queues[priority]
                ready = (await channel.queue_declare(queue, passive=True)).message_count
                if ready > FEW and missing > FEW:
                    await self._consume(channel, queue, min(missing, ready))
                elif ready:
                    await self._get(channel, queue, min(missing, ready))

    async def _give_up(self, channel: Any) -> None:
        """Return messages that the worker received and could not claim. Any worker may get them."""
        waiting = {one.receipt[1] for one in self._arrived}
        before = monotonic() - ABANDONED.total_seconds()
        for tag in [tag for tag, came in self._unsettled.items() if came < before and tag not in waiting]:
            del self._unsettled[tag]
            await channel.basic_nack(tag, requeue=True)

    async def _get(self, channel: Any, queue: str, count: int) -> None:
        for _ in range(count):
            message = await channel.basic_get(queue)
            if message.delivery_tag is None:  # the queue is empty
                return
            await self._hear(message)

    async def _consume(self, channel: Any, queue: str, count: int) -> None:
        wanted = len(self._arrived) + count
        tag = await self._subscribe(channel, queue, count)
        while len(self._arrived) < wanted and self._link.usable():
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), QUIET_SECONDS)
            except TimeoutError:
                break
        await channel.basic_cancel(tag)

    async def _subscribe(self, channel: Any, queue: str, count: int) -> str:
        self._consumers += 1
        tag = f"{self._name}-{self._consumers}"
        await channel.basic_qos(prefetch_count=min(count, 65_535))
        await channel.basic_consume(queue, self._hear, consumer_tag=tag)
        return tag

    async def _wait(self, wait: timedelta) -> None:
        """Wait for the first message of any queue."""
        tags: list[str] = []

        async def subscribe() -> None:
            channel = await self._ready()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                for queue in self._queues.values():
                    tags.append(await self._subscribe(channel, queue, 1))

        async def unsubscribe() -> None:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                for tag in tags:
                    await self._channel.basic_cancel(tag)
            tags.clear()

        try:
            await self._steps(subscribe())
            await self._first(wait)
        finally:
            if self._link.usable():
                await self._steps(unsubscribe())

    async def _first(self, wait: timedelta) -> None:
        self._news.clear()
        if self._arrived:
            return
        gone, came = asyncio.create_task(self._link.ended.wait()), asyncio.create_task(self._news.wait())
        try:
            await asyncio.wait({gone, came}, timeout=wait.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            came.cancel()
        if self._link.ended.is_set():
            raise QueueUnavailable(f"the connection to the queue at {self._link.url} is closed")

    async def _hear(self, message: Any) -> None:
        if message.channel is not self._channel:
            return
        tag = message.delivery_tag
        self._unsettled[tag] = monotonic()
        self._arrived.append(delivery_of(message.body, self._limit_bytes, (message.channel, tag)))
        self._news.set()

    async def _give_back(self) -> None:
        while self._arrived:
            channel, tag = self._arrived.pop().receipt
            if tag in self._unsettled:
                del self._unsettled[tag]
                await channel.basic_nack(tag, requeue=True)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if deliveries:
            await self._steps(self._acknowledge(deliveries))

    async def _acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        if not self._link.usable() or any(one.receipt[0] is not self._channel for one in deliveries):
            raise QueueUnavailable(
                f"the connection to the queue at {self._link.url} ended; the broker delivers its messages again"
            )
        tags = {one.receipt[1] for one in deliveries} & self._unsettled.keys()
        if not tags:
            return
        for tag in tags:
            del self._unsettled[tag]
        last = max(tags)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if not any(tag < last for tag in self._unsettled):
                await self._channel.basic_ack(last, multiple=True)
            else:
                for tag in sorted(tags):
                    await self._channel.basic_ack(tag)
            # The broker answers in order, so with this answer it has processed the acknowledgements.
            await self._channel.queue_declare(self._queues[Priority.NORMAL], passive=True)

    async def close(self) -> None:
        self._arrived.clear()
        await self._link.close()
