"""Pulls from the three durable consumers, in the weighted order of the priorities."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from horae.errors import QueueUnavailable
from horae.messages import Priority
from horae.queues.base import Delivery
from horae.queues.decoding import delivery_of
from horae.queues.nats.link import API, NANOSECONDS, TIMEOUT_SECONDS, Link, translated
from horae.queues.nats.settings import NatsSettings
from horae.queues.priorities import wheel


class Pull:
    """The requests of one priority, and what came for them."""

    def __init__(self, link: Link, priority: Priority, arrived: asyncio.Queue[Any]) -> None:
        self._link, self._priority, self.arrived = link, priority, arrived
        self._subject = f"{API}.CONSUMER.MSG.NEXT.{link.stream}.{priority.value}"
        self._inbox = ""
        self.ended = asyncio.Event()
        """The server said that the last request is done."""
        self.open = 0
        """Messages that were asked for and did not come yet."""

    async def begin(self, client: Any) -> None:
        self._inbox, self.open = client.new_inbox(), 0
        await client.subscribe(self._inbox, cb=self._heard)

    async def _heard(self, message: Any) -> None:
        status = (message.headers or {}).get("Status") if message.headers else None
        if status:
            self.open = 0
            self.ended.set()
            self.arrived.put_nowait(None)  # whoever waits looks again
            return
        self.open = max(0, self.open - 1)
        self.arrived.put_nowait(message)
        if not self.open:
            self.ended.set()

    async def ask(self, client: Any, count: int, wait: timedelta) -> None:
        """Without a wait the server answers at once, and says when there is nothing more."""
        request: dict[str, Any] = {"batch": count}
        if wait:
            request["expires"] = int(wait.total_seconds() * NANOSECONDS)
        else:
            request["no_wait"] = True
        self.open += count
        self.ended.clear()
        with translated(self._link.url):
            await client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)


class NatsConsumer:
    def __init__(self, table: NatsSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._limit_bytes = Link(table, namespace), limit_bytes
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self._pulls = {priority: Pull(self._link, priority, self._arrived) for priority in Priority}
        self._spare: deque[Delivery] = deque()
        self._wheel = wheel()
        self._connection = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if limit <= 0:
            return []
        client = await self._ready()
        self._collect()
        if not self._spare:
            for priority in next(self._wheel):
                missing = limit - len(self._spare)
                if missing > 0:
                    await self._pull(client, self._pulls[priority], missing)
        if not self._spare and wait:
            await self._wait(client, wait)
        return [self._spare.popleft() for _ in range(min(limit, len(self._spare)))]

    async def _ready(self) -> Any:
        client = await self._link.client()
        if self._connection != self._link.opened:
            self._arrived = asyncio.Queue()
            for pull in self._pulls.values():
                pull.arrived = self._arrived
                with translated(self._link.url):
                    await pull.begin(client)
            self._connection = self._link.opened
        return client

    async def _pull(self, client: Any, pull: Pull, count: int) -> None:
        await pull.ask(client, count, timedelta(0))
        try:
            await asyncio.wait_for(pull.ended.wait(), TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise QueueUnavailable(f"the queue at {self._link.url} does not answer") from error
        self._collect()

    async def _wait(self, client: Any, wait: timedelta) -> None:
        """For the first message of any priority. What comes later for the others is handed out by later calls."""
        for pull in self._pulls.values():
            if not pull.open:
                await pull.ask(client, 1, wait)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        while not self._spare and (left := deadline - loop.time()) > 0:
            if not client.is_connected:
                raise QueueUnavailable(f"the connection to the queue at {self._link.url} is closed")
            with suppress(TimeoutError):
                self._keep(await asyncio.wait_for(self._arrived.get(), min(left, 0.25)))
        self._collect()

    def _collect(self) -> None:
        while not self._arrived.empty():
            self._keep(self._arrived.get_nowait())

    def _keep(self, message: Any) -> None:
        if message is not None:
            self._spare.append(delivery_of(message.data, self._limit_bytes, message.reply))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        client = await self._link.client()
        with translated(self._link.url):
            for delivery in deliveries:
                await client.publish(delivery.receipt, b"+ACK")
            await client.flush(int(TIMEOUT_SECONDS))

    async def close(self) -> None:
        await self._link.close()
