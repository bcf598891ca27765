"""The partitions of a member of the consumer group, and the progress in each."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from aiokafka import ConsumerRebalanceListener
from aiokafka.structs import TopicPartition

from horae.clock import monotonic
from horae.queues.kafka.progress import Progress

ABANDONED = timedelta(seconds=5)
"""A worker claims and acknowledges quickly. If it has not after this time, it could not, and Kafka must deliver
again.
"""


class Owned(ConsumerRebalanceListener):  # type: ignore[misc]
    """The partitions of this member, and the offset up to which each is done."""

    def __init__(self) -> None:
        self.progress: dict[TopicPartition, Progress] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.joined = asyncio.Event()
        self.client: Any = None

    @property
    def abandoned(self) -> bool:
        """A message was handed out so long ago that no worker works on it."""
        since = [one.held_since for one in self.progress.values() if one.held_since is not None]
        return bool(since) and monotonic() - min(since) > ABANDONED.total_seconds()

    def holding(self) -> list[TopicPartition]:
        return [one for one, progress in self.progress.items() if progress.holds]

    def progress_of(self, partition: TopicPartition, offset: int) -> Progress:
        """For a message with that offset. One below the committed offset belongs to a topic that was deleted and
        created again, or somebody has reset the offsets of the group.
        """
        if offset < self.committed.get(partition, 0):
            del self.committed[partition]
            self.progress.pop(partition, None)
        return self.progress.setdefault(partition, Progress(offset))

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.joined.clear()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        before, committed = self.progress, self.committed
        self.progress, self.committed = {}, {}
        for one in sorted(assigned):
            done = await self.client.committed(one)
            if done is not None:
                self.committed[one] = done
            progress = before.get(one)
            # If less is done than was committed, the topic is a new one. If more is done than this member handed out,
            # another member had the partition in between.
            if progress and committed.get(one, 0) <= (done or 0) <= progress.position:
                self.progress[one] = progress
                self.client.seek(one, progress.position)
        self.joined.set()
