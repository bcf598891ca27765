"""Publishes with an idempotent producer, and waits for an answer of all in-sync replicas for each message."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition

from horae.errors import QueueError
from horae.messages import ROOM_BYTES, Message
from horae.queues.base import Backlog
from horae.queues.kafka import KafkaSettings
from horae.queues.kafka.link import TIMEOUT_SECONDS, Topics, ended, first_contact, group_of, options_of, translated

OVERHEAD_BYTES = 4096
"""The additional bytes of a batch and of a record."""


class KafkaPublisher:
    """A producer that failed is not repaired: the next step opens a new one, which reads the credentials again."""

    def __init__(self, table: KafkaSettings, namespace: str, limit_bytes: int) -> None:
        self._table, self._namespace, self._limit_bytes = table, namespace, limit_bytes
        self._topics = Topics(table, namespace)
        self._producer: Any = None
        self._looking: Any = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[Message]) -> None:
        records = [
            (self._topics.names[one.priority], one.run_id.encode(), one.encode(self._limit_bytes)) for one in messages
        ]
        if not records:
            return
        producer = await self._opened()
        try:
            with translated(self._topics.url):
                async with asyncio.timeout(TIMEOUT_SECONDS * 2):
                    sent = [await producer.send(topic, body, key=key) for topic, key, body in records]
                    outcomes = await asyncio.gather(*sent, return_exceptions=True)
                for outcome in outcomes:
                    if isinstance(outcome, BaseException):
                        raise outcome
        except QueueError:
            await self.close()
            raise

    async def _opened(self) -> Any:
        async with self._opening:
            if self._producer is None:
                with translated(self._topics.url):
                    options = options_of(self._table)
                    await first_contact(self._table, options)
                    await self._topics.declare(options)
                    self._producer = await self._start(options)
            return self._producer

    async def _start(self, options: dict[str, Any]) -> Any:
        largest = self._limit_bytes + ROOM_BYTES + OVERHEAD_BYTES
        producer = AIOKafkaProducer(
            bootstrap_servers=self._table.servers,
            client_id=f"horae-{self._namespace}",
            enable_idempotence=True,
            acks="all",
            max_request_size=max(largest, 1024 * 1024),
            request_timeout_ms=int(TIMEOUT_SECONDS * 1000),
            **options,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await producer.start()
        except BaseException:
            await ended(producer)
            raise
        return producer

    async def check(self) -> None:
        producer = await self._opened()
        try:
            with translated(self._topics.url):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await producer.client.fetch_all_metadata()
        except QueueError:
            await self.close()
            raise

    async def backlog(self) -> Backlog:
        """The messages from the group's offsets to the ends of the partitions. Messages that are done after a gap still
        count.
        """
        await self._opened()
        try:
            with translated(self._topics.url):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return Backlog(messages=await self._behind())
        except QueueError:
            await self.close()
            raise

    async def _behind(self) -> int:
        if self._looking is None:
            looking = AIOKafkaConsumer(
                bootstrap_servers=self._table.servers,
                group_id=group_of(self._namespace),
                enable_auto_commit=False,
                **options_of(self._table),
            )
            self._looking = looking
            await looking.start()
        # Without a subscription, it asks for the group's offsets and is not a member of the group.
        partitions = [
            TopicPartition(name, number)
            for name in self._topics.names.values()
            for number in await self._producer.partitions_for(name)
        ]
        first = await self._looking.beginning_offsets(partitions)
        last = await self._looking.end_offsets(partitions)
        done = await asyncio.gather(*(self._looking.committed(one) for one in partitions))
        return sum(last[one] - max(first[one], at or 0) for one, at in zip(partitions, done, strict=True) if last[one])

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        looking, self._looking = self._looking, None
        await asyncio.gather(*(ended(client) for client in (producer, looking) if client is not None))
