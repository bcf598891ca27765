"""The password of a broker changes while publisher and consumer are open: the file with the new one is enough."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from horae.errors import QueueUnavailable
from horae.messages import Message
from horae.queues.configured import with_settings
from horae.queues.providers import provider
from horae.settings import Settings
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.conftest import require
from tests.contract.brokers import SASL
from tests.waiting import wait_until

type Rotating = tuple[str, dict[str, Any], Callable[[str], None]]
"""A provider, its settings, and what gives the user `worker` another password; connections end with it."""
SOON = timedelta(seconds=1)


@pytest.fixture(params=["nats", "kafka"])
def rotating(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rotating]:
    """RabbitMQ and the store are in test_rabbitmq.py and test_store_addresses.py."""
    require(request.param)
    server: Any = NatsServer(tmp_path) if request.param == "nats" else KafkaServer(tmp_path)

    def rotate(password: str) -> None:
        server.kill()
        if isinstance(server, KafkaServer):
            server.set(SASL.format(password=password))
        else:
            server.options = ("--user", "worker", "--pass", password)
        server.start()

    rotate("first")
    table = {"url": server.url} if request.param == "nats" else {"bootstrap_servers": server.bootstrap}
    sasl = {} if request.param == "nats" else {"sasl_mechanism": "PLAIN"}
    try:
        yield request.param, table | sasl, rotate
    finally:
        server.kill()


async def test_a_password_is_changed_without_a_restart(rotating: Rotating, tmp_path: Path, namespace: str) -> None:
    name, table, rotate = rotating
    file = tmp_path / "password"
    file.write_text("first\n")
    settings = Settings(namespace=namespace, queue={name: table | {"username": "worker", "password_file": str(file)}})
    own = with_settings(provider(name), settings)
    publisher, consumer = own.open_publisher(), own.open_consumer("w1")
    assert consumer

    async def goes_on() -> bool:
        with suppress(QueueUnavailable):
            await publisher.publish([Message(job="backup")])
        with suppress(QueueUnavailable):
            found = await consumer.receive(10, SOON)
            await consumer.ack(found)
            return bool(found)
        return False

    await wait_until(goes_on, "a first message", 30)
    file.write_text("second\n")
    rotate("second")
    await wait_until(goes_on, "publisher and consumer to connect again", 40)
    await consumer.close()
    await publisher.close()
