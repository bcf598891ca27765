"""Publishing: every message is persistent and mandatory, and confirmed by a majority of the queue's replicas."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiormq import spec

from horae.errors import QueueUnavailable
from horae.messages import Message
from horae.queues.rabbitmq import RabbitSettings
from horae.queues.rabbitmq.link import TIMEOUT_SECONDS, Link, queue_of, translated

AT_ONCE = 500
"""Messages that wait for their confirmation together."""
PERSISTENT = 2


class RabbitPublisher:
    def __init__(self, table: RabbitSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._namespace, self._limit_bytes = Link(table, namespace), namespace, limit_bytes

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(queue_of(self._namespace, one.priority), one.encode(self._limit_bytes)) for one in messages]
        for start in range(0, len(bodies), AT_ONCE):
            channel = await self._link.channel()
            together = bodies[start : start + AT_ONCE]
            try:
                with translated(self._link.url):
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        await self._confirmed(channel, together)
            except QueueUnavailable:
                # A queue may have been deleted, or an answer may still be on its way: begin anew.
                await self._link.close()
                raise

    async def _confirmed(self, channel: Any, bodies: Sequence[tuple[str, bytes]]) -> None:
        sent = [
            asyncio.ensure_future(
                channel.basic_publish(
                    body,
                    exchange="",
                    routing_key=queue,
                    properties=spec.Basic.Properties(delivery_mode=PERSISTENT, content_type="application/json"),
                    mandatory=True,
                )
            )
            for queue, body in bodies
        ]
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
            if isinstance(outcome, spec.Basic.Nack | spec.Basic.Reject):
                raise QueueUnavailable(f"the queue at {self._link.url} is full and did not accept a message")

    async def check(self) -> None:
        channel = await self._link.channel()
        try:
            with translated(self._link.url):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await channel.basic_qos(prefetch_count=1)
        except QueueUnavailable:
            await self._link.close()
            raise

    async def close(self) -> None:
        await self._link.close()
