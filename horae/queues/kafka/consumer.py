"""Receives as a member of the one consumer group. The client's background task keeps the membership while a worker is
full.

A full worker does not ask for messages, maybe for hours. It must not leave the group for that, because the worker's own
supervisor checks whether it hangs. Members are not static: after a clean stop, the partitions of a static member would
wait for the end of its session.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition

from horae.clock import monotonic
from horae.errors import QueueError, QueueUnavailable
from horae.messages import ROOM_BYTES
from horae.queues.base import Delivery
from horae.queues.decoding import delivery_of
from horae.queues.kafka import KafkaSettings
from horae.queues.kafka.assignor import assignor_of
from horae.queues.kafka.link import TIMEOUT_SECONDS, Topics, ended, first_contact, group_of, options_of, translated
from horae.queues.kafka.owned import ABANDONED, Owned
from horae.queues.priorities import wheel

JOIN_SECONDS = 5.0
"""How long one receive waits for the group, which needs longer after members have died."""
FETCH_MILLIS = 100
"""A broker answers a fetch without messages after this time. Until then it is not asked for other partitions."""
SLICE_SECONDS = 1.0
"""While a receive waits, the brokers must answer once within this time."""
HEARTBEAT_SECONDS = 0.5
NEVER_MILLIS = 2**31 - 1


class KafkaConsumer:
    def __init__(self, table: KafkaSettings, namespace: str, limit_bytes: int, name: str) -> None:
        self._table, self._namespace, self._limit_bytes, self._name = table, namespace, limit_bytes, name
        self._topics = Topics(table, namespace)
        self._client: Any = None
        self._owned = Owned()
        self._arrived: deque[Delivery] = deque()
        self._receiving, self._committing = asyncio.Lock(), asyncio.Lock()
        self._wheel = wheel()
        self._keeper: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[None] | None = None

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if limit <= 0:
            return []
        async with self._receiving:
            try:
                with translated(self._topics.url):
                    await self._opened()
                    if await self._joined():
                        await self._collect(limit, wait)
            except QueueError:
                await self._end()
                raise
            return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def _opened(self) -> None:
        if self._client is not None and self._owned.abandoned:
            await self._end()
        if self._client is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._open())
                self._opening.add_done_callback(lambda done: done.cancelled() or done.exception())
            # The client leaks its connections if it is cancelled while it opens them.
            await asyncio.shield(self._opening)

    async def _open(self) -> None:
        options = options_of(self._table)
        await first_contact(self._table, options)
        await self._topics.declare(options)
        await self._start(options)

    async def _start(self, options: dict[str, Any]) -> None:
        owned = Owned()
        largest = self._limit_bytes + ROOM_BYTES
        client = AIOKafkaConsumer(
            bootstrap_servers=self._table.servers,
            client_id=self._name,
            group_id=group_of(self._namespace),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            partition_assignment_strategy=[assignor_of(owned.holding)],
            session_timeout_ms=int(self._table.session_seconds * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_SECONDS * 1000),
            max_poll_interval_ms=NEVER_MILLIS,
            rebalance_timeout_ms=int(self._table.session_seconds * 1000),
            fetch_max_wait_ms=FETCH_MILLIS,
            max_partition_fetch_bytes=max(largest, 256 * 1024),
            request_timeout_ms=int((TIMEOUT_SECONDS + self._table.session_seconds) * 1000),
            **options,
        )
        owned.client = client
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await client.start()
        except BaseException:
            await ended(client)
            raise
        client.subscribe(topics=list(self._topics.names.values()), listener=owned)
        self._client, self._owned = client, owned
        self._arrived.clear()  # it is delivered again
        self._keeper = asyncio.create_task(self._look_after(owned), name=f"{self._name} keeps its partitions")

    async def _look_after(self, owned: Owned) -> None:
        """Commit the offsets that could not be committed before. Leave the group if a message is abandoned: another
        worker gets it, or this one when it asks again.
        """
        while True:
            await asyncio.sleep(ABANDONED.total_seconds() / 5)
            with suppress(QueueError):  # offsets that could not be committed during a rebalance
                await self._commit()
            async with self._receiving:
                if owned.abandoned:
                    self._keeper = None
                    await self._end()
                    return

    async def _joined(self) -> bool:
        """Whether it is a member of the group; joining may take a while."""
        deadline = monotonic() + JOIN_SECONDS
        while not self._owned.joined.is_set():
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(self._owned.joined.wait(), min(left, SLICE_SECONDS))
            except TimeoutError:
                await self._answers()
        return True

    async def _answers(self) -> None:
        """Raises the error of the brokers, or TimeoutError. A client that gets nothing only logs the reason. Raises
        QueueUnavailable if a topic was deleted, also if it is there again, because this client does not look for it for
        minutes. The next receive creates it and joins anew.
        """
        async with asyncio.timeout(TIMEOUT_SECONDS):
            there = await self._client.topics()
        names = self._topics.names.values()
        if deleted := [name for name in names if name not in there or not self._client.partitions_for_topic(name)]:
            raise QueueUnavailable(f"the topics {', '.join(deleted)} at {self._topics.url} were deleted")

    async def _collect(self, limit: int, wait: timedelta) -> None:
        if self._arrived:
            return
        for priority in next(self._wheel):
            if len(self._arrived) < limit:
                await self._take(self._topics.names[priority], limit)
        deadline = monotonic() + wait.total_seconds()
        while wait and not self._arrived and not self._owned.abandoned and (left := deadline - monotonic()) > 0:
            self._keep(await self._poll(self._partitions(), limit, min(left, SLICE_SECONDS)))
            if not self._arrived:
                await self._answers()

    def _partitions(self, topic: str = "") -> list[TopicPartition]:
        return [one for one in self._client.assignment() if topic in ("", one.topic)]

    async def _take(self, topic: str, limit: int) -> None:
        """The messages of a topic at the brokers. A fetch on its way is awaited; otherwise a lower priority would come
        first.
        """
        deadline = monotonic() + TIMEOUT_SECONDS
        while self._owned.joined.is_set():
            partitions = self._partitions(topic)
            if not partitions:
                return
            before = len(self._arrived)
            self._keep(await self._poll(partitions, limit - before, 0))
            if len(self._arrived) >= limit or not await self._expected(partitions):
                return
            if monotonic() > deadline:
                raise QueueUnavailable(f"the queue at {self._topics.url} has messages but does not deliver them")
            self._keep(await self._poll(partitions, limit - len(self._arrived), FETCH_MILLIS / 1000))

    async def _expected(self, partitions: Iterable[TopicPartition]) -> bool:
        for one in partitions:
            if one in self._client.assignment():
                end = self._client.highwater(one)
                try:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        if end is None or await self._client.position(one) < end:
                            return True
                except IllegalStateError:  # another worker got it meanwhile
                    return False
        return False

    async def _poll(self, partitions: list[TopicPartition], count: int, seconds: float) -> dict[Any, list[Any]]:
        if not partitions or count <= 0:
            await asyncio.sleep(seconds)
            return {}
        found: dict[Any, list[Any]] = await self._client.getmany(
            *partitions, timeout_ms=int(seconds * 1000), max_records=count
        )
        return found

    def _keep(self, found: dict[Any, list[Any]]) -> None:
        for partition, records in found.items():
            for record in records:
                progress = self._owned.progress_of(partition, record.offset)
                if progress.hand_out(record.offset):
                    receipt = (self._owned, partition, record.offset)
                    self._arrived.append(delivery_of(record.value or b"", self._limit_bytes, receipt))

    async def behind(self) -> int:
        """How many messages of its own partitions it has not received. Raises QueueUnavailable."""
        own = self._partitions() if self._client else []
        if not own:
            return 0
        with translated(self._topics.url):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                ends = await self._client.end_offsets(own)
                return sum([end - await self._client.position(one) for one, end in ends.items()])

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        lost = False
        for delivery in deliveries:
            owned, partition, offset = delivery.receipt
            if owned is self._owned and partition in owned.progress:
                owned.progress[partition].finish(offset)
            else:
                lost = True
        if self._client is None:
            raise QueueUnavailable(
                f"the connection to the queue at {self._topics.url} ended; the broker delivers its messages again"
            )
        await asyncio.shield(self._commit())
        if lost:
            raise QueueUnavailable(
                f"the broker gave partitions at {self._topics.url} to another worker; it delivers their messages again"
            )

    async def _commit(self) -> None:
        """Commit one after the other, and never an earlier offset than before."""
        async with self._committing:
            owned = self._owned
            done = {
                one: progress.done_before
                for one, progress in owned.progress.items()
                if progress.done_before > owned.committed.get(one, 0)
            }
            if not done or self._client is None:
                return
            with translated(self._topics.url):
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    await self._client.commit(done)
            owned.committed |= done

    async def _end(self) -> None:
        client, self._client = self._client, None
        keeper, self._keeper = self._keeper, None
        if keeper:
            keeper.cancel()
        if client is not None:
            await ended(client)

    async def close(self) -> None:
        self._arrived.clear()
        if self._opening:
            await asyncio.wait({self._opening}, timeout=TIMEOUT_SECONDS)
        await self._end()
