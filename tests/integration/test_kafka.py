"""What only Kafka can get wrong, on a real server."""

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message
from horae.queues.closing import close_all
from horae.queues.configured import Configured, with_settings
from horae.queues.providers import provider
from horae.settings import Settings
from tests.brokers.kafka import KafkaServer
from tests.brokers.wiping import wipe_kafka
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("kafka")
WEEK_MILLIS = timedelta(days=7) // timedelta(milliseconds=1)


def of(namespace: str, **table: Any) -> Configured:
    return with_settings(provider("kafka"), Settings(namespace=namespace, queue={"kafka": table}))


@pytest.mark.parametrize(
    ("partitions", "configs", "says"),
    [
        (3, {"retention.ms": str(WEEK_MILLIS)}, "has 3 partitions"),
        (12, {"retention.ms": "60000"}, f"retention.ms={WEEK_MILLIS}"),
        (12, {"retention.ms": "-1"}, f"retention.ms={WEEK_MILLIS}"),
        (12, {"cleanup.policy": "compact"}, "cleanup.policy=delete"),
        (12, {"retention.bytes": "1000000"}, "retention.bytes=-1"),
    ],
)
async def test_a_topic_that_could_lose_messages_is_refused_with_the_remedy(
    kafka_bootstrap: str, namespace: str, partitions: int, configs: dict[str, str], says: str
) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(f"{namespace}.queue.normal", partitions, 1, topic_configs=configs)])
    await admin.close()
    publisher = of(namespace, bootstrap_servers=kafka_bootstrap).open_publisher()
    with pytest.raises(QueueError, match=says):
        await publisher.publish([Message(job="backup")])
    await publisher.close()


async def test_more_replicas_than_brokers_are_refused_by_name(kafka_bootstrap: str, namespace: str) -> None:
    publisher = of(namespace, bootstrap_servers=kafka_bootstrap, replicas=3).open_publisher()
    with pytest.raises(QueueError, match=f"does not create the topic {namespace}.queue"):
        await publisher.publish([Message(job="backup")])
    await publisher.close()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"bootstrap_servers": "kafka"}, "HOST:PORT"),
        ({"bootstrap_servers": "kafka://kafka:9092"}, "HOST:PORT"),
        ({"bootstrap_servers": "kafka:9092", "partitions": 3}, "partitions"),
        ({"bootstrap_servers": "kafka:9092", "password": "s3cret"}, "username is not"),
        ({"bootstrap_servers": "kafka:9092", "sasl_mechanism": "GSSAPI"}, "SCRAM-SHA-512"),
    ],
)
def test_a_wrong_table_is_refused_without_its_secrets(table: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says) as told:
        of("horae", **table)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("created_again", [False, True])
async def test_topics_that_are_deleted_under_an_open_consumer(
    kafka_bootstrap: str, namespace: str, created_again: bool
) -> None:
    own = of(namespace, bootstrap_servers=kafka_bootstrap)
    publisher, consumer = own.open_publisher(), own.open_consumer("w1")
    assert consumer
    got = Counter[str]()

    async def received(count: int) -> None:
        """Publishes and receives until so many messages more have come."""
        wanted = got.total() + count

        async def goes_on() -> bool:
            with suppress(QueueUnavailable):
                # With the same key they go to the same partition.
                await publisher.publish([Message(job="backup", run_id="r1")])
            with suppress(QueueUnavailable):
                found = await consumer.receive(10, timedelta(seconds=0.2))
                got.update(one.message.run_id for one in found if one.message)
                await consumer.ack(found)
            return got.total() >= wanted

        await wait_until(goes_on, f"{count} messages", 40)

    await received(5)
    await wipe_kafka(own.settings)
    if created_again:
        other = own.open_publisher()
        await other.check()
        await other.close()
    await received(3)
    await consumer.close()
    await publisher.close()


async def test_a_client_that_cannot_say_goodbye_leaves_no_connection_open(tmp_path: Path, namespace: str) -> None:
    server = KafkaServer(tmp_path)
    server.start()
    try:
        consumer: Any = of(namespace, bootstrap_servers=server.bootstrap).open_consumer("w1")
        assert await consumer.receive(1, timedelta(seconds=1)) == []
        client = consumer._client._client
        server.process.pause()
        await close_all([consumer])  # gives up before the client does
        assert [one for one in client._conns.values() if one.connected()] == []
    finally:
        server.process.resume()
        server.kill()
