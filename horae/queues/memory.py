"""The provider in this process's memory, for scripts and tests.

What is not acknowledged comes again when its consumer closes.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from horae.messages import Message, Priority
from horae.queues.base import Capabilities, Delivery, Ordering
from horae.queues.decoding import delivery_of
from horae.queues.priorities import wheel

CAPABILITIES = Capabilities(
    redelivers_for=timedelta(0), native_schedules=None, priorities=True, ordering=Ordering.PRIORITY
)


class MemoryBroker:
    """What a server is to the other providers: share one between publisher and consumers."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.priorities: dict[Priority, deque[bytes]] = {priority: deque() for priority in Priority}
        self.arrived = asyncio.Event()

    def put(self, priority: Priority, body: bytes) -> None:
        self.priorities[priority].append(body)
        self.arrived.set()


class MemoryPublisher:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(message.priority, message.encode(self._broker.limit_bytes)) for message in messages]
        for priority, body in bodies:
            self._broker.put(priority, body)

    async def check(self) -> None:
        return None

    async def close(self) -> None:
        return None


class MemoryConsumer:
    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._wheel = wheel()
        self._open: dict[int, tuple[Priority, bytes]] = {}
        self._count = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        found = self._take(limit)
        if not found and wait:
            self._broker.arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._broker.arrived.wait(), wait.total_seconds())
            found = self._take(limit)
        return found

    def _take(self, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < limit:
            priority = next((priority for priority in next(self._wheel) if self._broker.priorities[priority]), None)
            if priority is None:
                break
            found.append(self._delivery(priority, self._broker.priorities[priority].popleft()))
        return found

    def _delivery(self, priority: Priority, body: bytes) -> Delivery:
        self._count += 1
        tag = self._count
        self._open[tag] = (priority, body)
        return delivery_of(body, self._broker.limit_bytes, tag)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self._open.pop(delivery.receipt, None)

    async def close(self) -> None:
        for priority, body in self._open.values():
            self._broker.put(priority, body)
        self._open.clear()
