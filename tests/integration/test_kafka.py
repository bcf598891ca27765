"""What only Kafka can get wrong, on a real server."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from horae.errors import QueueError
from horae.messages import Message
from horae.queues.closing import close_all
from horae.queues.configured import Configured, with_settings
from horae.queues.providers import provider
from horae.settings import Settings
from tests.brokers.kafka import KafkaServer

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
