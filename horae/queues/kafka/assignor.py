"""Assigns partitions to the workers of the group: evenly, and without taking a partition from a worker that uses it.

Each member reports the partitions of which it has messages that are not acknowledged. Kafka's own assignors would give
some of them to a worker that joins, and it would get the same messages.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.structs import TopicPartition

NAME = "horae-held-first"


def shared_out(
    partitions: Iterable[TopicPartition], held: Mapping[str, Iterable[TopicPartition]]
) -> dict[str, list[TopicPartition]]:
    """Partitions by member. `held`: for every member, the partitions that stay with it. If two members hold one, the
    first by name keeps it. The others go, topic by topic, to the member with the fewest of that topic, then with the
    fewest of all.
    """
    given: dict[str, list[TopicPartition]] = {member: [] for member in sorted(held)}
    free = sorted(partitions)
    for member, own in given.items():
        stay = set(held[member])
        own += [one for one in free if one in stay]
        free = [one for one in free if one not in stay]
    for one in free:
        least = min(given, key=lambda member: (_of_topic(given[member], one.topic), len(given[member]), member))
        given[least].append(one)
    return given


def _of_topic(partitions: Iterable[TopicPartition], topic: str) -> int:
    return sum(one.topic == topic for one in partitions)


def assignor_of(holding: Callable[[], Iterable[TopicPartition]]) -> type[AbstractPartitionAssignor]:
    """The assignor of a member. `holding` returns what the member holds now. The client calls methods of the class."""

    class HeldFirst(AbstractPartitionAssignor):  # type: ignore[misc]
        name = NAME

        @classmethod
        def assign(
            cls, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
        ) -> dict[str, ConsumerProtocolMemberAssignment]:
            topics = {topic for metadata in members.values() for topic in metadata.subscription}
            partitions = [
                TopicPartition(topic, number)
                for topic in topics
                for number in cluster.partitions_for_topic(topic) or ()
            ]
            given = shared_out(partitions, {member: _told(metadata) for member, metadata in members.items()})
            return {member: _assignment(own) for member, own in given.items()}

        @classmethod
        def metadata(cls, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
            told = json.dumps([[one.topic, one.partition] for one in holding()]).encode()
            return ConsumerProtocolMemberMetadata(0, list(topics), told)

        @classmethod
        def on_assignment(cls, assignment: ConsumerProtocolMemberAssignment) -> None:
            """The listener of the subscription reports it."""

    return HeldFirst


def _told(metadata: ConsumerProtocolMemberMetadata) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic, number in json.loads(metadata.user_data or b"[]")]


def _assignment(partitions: Iterable[TopicPartition]) -> ConsumerProtocolMemberAssignment:
    by_topic: dict[str, list[int]] = {}
    for one in partitions:
        by_topic.setdefault(one.topic, []).append(one.partition)
    return ConsumerProtocolMemberAssignment(0, sorted(by_topic.items()), b"")
