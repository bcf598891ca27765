"""What only RabbitMQ can get wrong, on a real server."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aio_pika
import pytest

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message, Priority
from horae.queues.configured import Configured, with_settings
from horae.queues.providers import provider
from horae.settings import Settings
from tests.brokers.rabbitmq import RabbitServer
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("rabbitmq")
SOON = timedelta(seconds=10)


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    server = RabbitServer(tmp_path_factory.mktemp("rabbitmq"))
    try:
        server.start()
        yield server
    finally:
        server.end()


def of(namespace: str, **table: Any) -> Configured:
    return with_settings(provider("rabbitmq"), Settings(namespace=namespace, queue={"rabbitmq": table}))


async def test_a_worker_that_is_busy_holds_no_message(rabbit: RabbitServer, namespace: str) -> None:
    """The broker's consumer_timeout closes the channel of a worker that holds one for too long."""
    own = of(namespace, url=rabbit.url)
    publisher, consumer = own.open_publisher(), own.open_consumer("w1")
    assert consumer
    assert await consumer.receive(1, timedelta(milliseconds=50)) == []
    await publisher.publish([Message(job="backup", priority=priority) for priority in Priority for _ in range(3)])
    received = [*await consumer.receive(1, SOON), *await consumer.receive(3, SOON)]
    assert len(received) == 4
    await consumer.ack(received)

    def unacknowledged() -> dict[str, list[int]]:
        told = rabbit.control("list_queues", "--silent", "name", "messages_unacknowledged", "messages_ready")
        rows = [line.split() for line in told.splitlines() if line.startswith(namespace)]
        return {name: [int(held), int(ready)] for name, held, ready in rows}

    await wait_until(
        lambda: sum(ready for _, ready in unacknowledged().values()) == 5, "the other five to be ready", 20
    )
    assert all(held == 0 for held, _ in unacknowledged().values())
    await consumer.close()
    await publisher.close()


async def test_a_password_is_changed_without_a_restart(rabbit: RabbitServer, namespace: str, tmp_path: Path) -> None:
    rabbit.control("add_user", namespace, "first")
    rabbit.control("set_permissions", namespace, ".*", ".*", ".*")
    file = tmp_path / "password"
    file.write_text("first\n")
    url = rabbit.url.replace("guest:guest@", "")
    own = of(namespace, url=url, username=namespace, password_file=str(file))
    publisher, consumer = own.open_publisher(), own.open_consumer("w1")
    assert consumer
    await publisher.publish([Message(job="backup")])
    await consumer.ack(await consumer.receive(1, SOON))
    file.write_text("second\n")
    rabbit.control("change_password", namespace, "second")
    rabbit.control("close_all_connections", "rotation")

    async def goes_on() -> bool:
        try:
            await publisher.publish([Message(job="backup")])
            return len(await consumer.receive(1, SOON)) == 1
        except QueueUnavailable:
            return False  # a step that was under way hears that its connection ended

    await wait_until(goes_on, "publisher and consumer to connect again")
    await consumer.close()
    await publisher.close()


async def test_a_queue_that_could_lose_messages_is_refused_with_the_remedy(
    rabbit: RabbitServer, namespace: str
) -> None:
    connection = await aio_pika.connect(rabbit.url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(f"{namespace}.queue.normal", durable=False, auto_delete=False)
    publisher = of(namespace, url=rabbit.url).open_publisher()
    with pytest.raises(QueueError, match=f"rabbitmqctl delete_queue {namespace}.queue.normal"):
        await publisher.publish([Message(job="backup")])
    rabbit.control("delete_queue", f"{namespace}.queue.normal")
    await publisher.publish([Message(job="backup")])
    await publisher.close()


async def test_a_deleted_queue_is_noticed_and_made_again(rabbit: RabbitServer, namespace: str) -> None:
    publisher = of(namespace, url=rabbit.url).open_publisher()
    await publisher.publish([Message(job="backup")])
    rabbit.control("delete_queue", f"{namespace}.queue.normal")
    with pytest.raises(QueueUnavailable, match="did not accept a message"):
        await publisher.publish([Message(job="backup")])
    await publisher.publish([Message(job="backup")])
    await publisher.close()


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"url": "http://rabbit"}, "amqp://"),
        ({"url": "amqp://a:b@rabbit", "username": "c", "password": "d"}, "give only one of them"),
        ({"url": "amqp://rabbit", "tls_ca_file": "ca.pem"}, "amqps://"),
        ({"url": "amqp://rabbit", "heartbeat_seconds": 0}, "heartbeat_seconds"),
        ({"url": "amqp://rabbit:port"}, "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused_without_its_secrets(table: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says) as told:
        of("horae", **table)
    assert "a:b" not in str(told.value)
