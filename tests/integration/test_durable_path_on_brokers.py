"""A durable job on each broker that is not the store: real sidecar, real worker, from the schedule to its verdict."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from horae.local.ports import LOOPBACK, free_port
from horae.settings import Settings, load
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.brokers.rabbitmq import RabbitServer
from tests.brokers.wiping import WIPE
from tests.conftest import require
from tests.processes import services
from tests.servers import OwnValkey
from tests.waiting import wait_for

JOB = """
from horae import every, job
@job(schedule=every("1s"), traits={"infrastructure"}, overlap="allow")
async def tick() -> None:
    with open("ticks", "a") as file:
        file.write(".")
"""


class Restarts(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...


type Started = tuple[dict[str, str], Restarts]


@contextmanager
def nats(folder: Path) -> Iterator[Started]:
    server = NatsServer(folder)
    server.start()
    try:
        yield {"HORAE_QUEUE__PROVIDER": "nats", "HORAE_QUEUE__NATS__URL": server.url}, server
    finally:
        server.kill()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Started]:
    server = RabbitServer(folder)
    try:
        server.start()
        yield {"HORAE_QUEUE__PROVIDER": "rabbitmq", "HORAE_QUEUE__RABBITMQ__URL": server.url}, server
    finally:
        server.end()


@contextmanager
def kafka(folder: Path) -> Iterator[Started]:
    server = KafkaServer(folder)
    server.start()
    try:
        yield {"HORAE_QUEUE__PROVIDER": "kafka", "HORAE_QUEUE__KAFKA__BOOTSTRAP_SERVERS": server.bootstrap}, server
    finally:
        server.kill()


@contextmanager
def cloudtasks(folder: Path) -> Iterator[Started]:
    server, port = CloudTasksServer(folder), free_port()
    server.start()
    table = {
        "PROJECT": "p",
        "LOCATION": "l",
        "SERVICE_ACCOUNT": "caller@p.iam.gserviceaccount.com",
        "RECEIVER_URL": f"http://{LOOPBACK}:{port}/tasks",
        "LISTEN_PORT": str(port),
        "ENDPOINT": server.address,
        "ISSUER": server.issuer,
        "KEYS_URL": f"{server.issuer}/jwks",
    }
    own = {f"HORAE_QUEUE__CLOUDTASKS__{name}": value for name, value in table.items()}
    try:
        yield {"HORAE_QUEUE__PROVIDER": "cloudtasks", **own}, server
    finally:
        server.kill()


BROKERS = {"nats": nats, "rabbitmq": rabbitmq, "kafka": kafka, "cloudtasks": cloudtasks}


@dataclass(frozen=True)
class Ticking:
    """A project whose job `tick` fires each second through a broker."""

    settings: Settings
    server: Restarts
    ticks: Path

    def goes_on(self, after: str) -> None:
        before = self._count()
        wait_for(lambda: self._count() >= before + 3, f"ticks {after}", 60)

    def _count(self) -> int:
        return len(self.ticks.read_text()) if self.ticks.exists() else 0


@pytest.fixture(params=BROKERS)
def ticking(request: pytest.FixtureRequest, project: Path, tmp_path: Path, namespace: str) -> Iterator[Ticking]:
    broker: str = request.param
    require(broker)
    (project / "infra/tick.py").write_text(JOB)
    (tmp_path / "valkey").mkdir()
    valkey = OwnValkey(tmp_path / "valkey")
    valkey.start()
    try:
        with (
            BROKERS[broker](tmp_path / broker) as (settings, server),
            services(project, valkey.url, namespace, **settings) as running,
        ):
            running.start("sidecar")
            running.start("receiver" if broker == "cloudtasks" else "queue_worker")
            found = Ticking(load(project, running.environment), server, project / "ticks")
            found.goes_on("at first")
            yield found
    finally:
        valkey.kill()


def test_fires_run_through_a_restart_of_the_broker(ticking: Ticking) -> None:
    ticking.server.kill()
    ticking.server.start()
    ticking.goes_on("after the restart")


def test_fires_run_after_the_queue_was_deleted_under_an_open_consumer(ticking: Ticking) -> None:
    provider = ticking.settings.queue.provider
    asyncio.run(WIPE[provider](ticking.settings))
    ticking.goes_on("after the queue was deleted")
