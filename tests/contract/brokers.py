"""The queue providers that the contract tests use, from their `PROVIDER` values. Add a provider to KINDS."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from signal import Signals
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import grpc.aio
import pytest
import redis.asyncio
from aiokafka import AIOKafkaProducer
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.protobuf.duration_pb2 import Duration

from horae.local.ports import LOOPBACK, free_port
from horae.messages import Message, Priority
from horae.queues import redis as redis_queue
from horae.queues.base import Capabilities, Consumer, Delivery, Publisher
from horae.queues.cloudtasks import publisher as cloud_tasks_publisher
from horae.queues.cloudtasks import receiver as cloud_tasks_receiver
from horae.queues.cloudtasks.publisher import CloudTasksPublisher
from horae.queues.cloudtasks.receiver import CloudTasksReceiver
from horae.queues.cloudtasks.settings import CloudTasksSettings
from horae.queues.configured import Configured, with_settings
from horae.queues.nats import link as nats_link
from horae.queues.nats.publisher import NatsPublisher
from horae.queues.nats.settings import NatsSettings
from horae.queues.providers import provider
from horae.queues.rabbitmq import consumer as rabbitmq_consumer
from horae.redis.keys import FIELD, stream_of
from horae.settings import Settings
from tests.brokers.balancer import Balancer
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.brokers.rabbitmq import RabbitServer
from tests.conftest import require
from tests.servers import OwnValkey
from tests.waiting import wait_until

LIMIT_BYTES = 64 * 1024
AT_ONCE = timedelta(0)
SOON = timedelta(seconds=10)
MOMENT = timedelta(milliseconds=50)
ABANDONED = timedelta(milliseconds=200)
PASSWORD = "s3cret/word"
QUOTED = "s3cret%2Fword"


@dataclass(frozen=True, kw_only=True)
class OwnServer:
    """A server that only one test uses."""

    queue: dict[str, Any]
    """The settings of `[queue]` for this server."""
    refused: dict[str, Any] = field(repr=False)
    """The same with credentials that the server refuses."""
    kill: Callable[[], None]
    """Kills the server like kill -9."""
    start: Callable[[], None]
    send: Callable[[Signals], None]


def polled(configured: Configured, worker: str, stack: AsyncExitStack) -> Consumer:
    """The consumer as a worker of that name opens it."""
    opened = configured.open_consumer(worker)
    assert opened, f"{configured.name} is not polled"
    return opened


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How the tests start and use a provider."""

    shared: Callable[[pytest.FixtureRequest], dict[str, Any]]
    """The settings of `[queue]` for a server that all tests share. Skips the test if there is none."""
    own: Callable[[Path], AbstractAsyncContextManager[OwnServer]]
    """Starts a server in that folder."""
    put: Callable[[Settings, bytes], Awaitable[None]]
    """Publishes raw bytes at normal priority, as another program would."""
    open_consumer: Callable[[Configured, str, AsyncExitStack], Consumer] = polled
    hastened: Callable[[pytest.MonkeyPatch], None] = lambda patch: None
    """Makes the provider redeliver the messages of a dead worker within `ABANDONED` instead of seconds."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """One provider with a namespace of its own."""

    configured: Configured
    publisher: Publisher
    consumer: Callable[[str], Consumer]
    """Opens the consumer of a worker of that name."""
    put: Callable[[bytes], Awaitable[None]]
    """Publish raw bytes, as another program would."""

    @property
    def calls(self) -> bool:
        """Whether the broker calls the worker, at times of its own."""
        return self.configured.provider.open_consumer is None

    @property
    def capabilities(self) -> Capabilities:
        return self.configured.provider.capabilities


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that only one test uses, with a broker on it."""

    broker: Broker
    kill: Callable[[], None]
    start: Callable[[], None]
    send: Callable[[Signals], None]
    refused: Broker = field(repr=False)


def broker_of(name: str, queue: dict[str, Any], stack: AsyncExitStack) -> Broker:
    """That provider with those settings, opened as the product opens it; the stack closes it."""
    namespace = f"t{uuid.uuid4().hex[:12]}"
    settings = Settings(namespace=namespace, queue={"provider": name, "message_limit_bytes": LIMIT_BYTES, **queue})
    configured = with_settings(provider(name), settings)
    assert not configured.missing
    publisher = configured.open_publisher()
    stack.push_async_callback(publisher.close)

    async def put(body: bytes) -> None:
        await KINDS[name].put(settings, body)

    def consumer(worker: str) -> Consumer:
        opened = KINDS[name].open_consumer(configured, worker, stack)
        stack.push_async_callback(opened.close)
        return opened

    return Broker(configured=configured, publisher=publisher, consumer=consumer, put=put)


@asynccontextmanager
async def shared_broker(name: str, request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with AsyncExitStack() as stack:
        yield broker_of(name, KINDS[name].shared(request), stack)


@asynccontextmanager
async def own_server(name: str, folder: Path) -> AsyncIterator[Server]:
    async with KINDS[name].own(folder) as own, AsyncExitStack() as stack:
        broker, refused = broker_of(name, own.queue, stack), broker_of(name, own.refused, stack)
        yield Server(broker=broker, refused=refused, kill=own.kill, start=own.start, send=own.send)


@asynccontextmanager
async def own_valkey(folder: Path) -> AsyncIterator[OwnServer]:
    own = OwnValkey(folder, fsync="always")
    own.start()
    try:
        admin: Any = redis.asyncio.Redis.from_url(own.url)
        await admin.execute_command("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        await admin.aclose()
        wrong = own.url.replace("redis://", f"redis://worker:{QUOTED}x@")
        yield OwnServer(
            queue={"redis_url": own.url},
            refused={"redis_url": wrong},
            kill=own.kill,
            start=own.start,
            send=own.signal,
        )
    finally:
        own.kill()


async def put_on_redis(settings: Settings, body: bytes) -> None:
    assert settings.queue.redis_url
    client = redis.asyncio.Redis.from_url(settings.queue.redis_url.get_secret_value())
    await client.xadd(stream_of(settings.namespace, Priority.NORMAL), {FIELD: body})
    await client.aclose()


REDIS = Kind(
    shared=lambda request: {"redis_url": request.getfixturevalue("valkey_url")},
    own=own_valkey,
    put=put_on_redis,
    hastened=lambda patch: patch.setattr(redis_queue, "ABANDONED", ABANDONED),
)


@asynccontextmanager
async def own_nats(folder: Path) -> AsyncIterator[OwnServer]:
    own = NatsServer(folder, "--user", "worker", "--pass", PASSWORD)
    own.start()
    try:
        known = {"url": own.url, "username": "worker"}
        yield OwnServer(
            queue={"nats": known | {"password": PASSWORD}},
            refused={"nats": known | {"password": f"{PASSWORD}x"}},
            kill=own.kill,
            start=own.start,
            send=own.process.signal,
        )
    finally:
        own.kill()


async def put_on_nats(settings: Settings, body: bytes) -> None:
    import nats

    publisher = NatsPublisher(NatsSettings(**settings.queue.tables["nats"]), settings.namespace, LIMIT_BYTES)
    await publisher.check()  # the stream is there
    await publisher.close()
    client = await nats.connect(settings.queue.tables["nats"]["url"])
    await client.jetstream().publish(f"{settings.namespace}.queue.normal", body)
    await client.close()


NATS = Kind(
    shared=lambda request: {"nats": {"url": request.getfixturevalue("nats_url")}},
    own=own_nats,
    put=put_on_nats,
    hastened=lambda patch: patch.setattr(nats_link, "ACK_WAIT", ABANDONED),
)


@asynccontextmanager
async def own_rabbitmq(folder: Path) -> AsyncIterator[OwnServer]:
    require("rabbitmq")
    own = RabbitServer(folder)
    own.start()

    def kill() -> None:
        # RabbitMQ confirms a message once it is on the disk, but notes a new queue there half a second later.
        own.control("eval", "[dets:sync(Table) || Table <- dets:all()], ok.")
        own.kill()

    try:
        own.control("add_user", "worker", PASSWORD)
        own.control("set_permissions", "worker", ".*", ".*", ".*")
        known = {"url": own.url.replace("guest:guest@", ""), "username": "worker"}
        yield OwnServer(
            queue={"rabbitmq": known | {"password": PASSWORD}},
            refused={"rabbitmq": known | {"password": f"{PASSWORD}x"}},
            kill=kill,
            start=own.start,
            send=own.process.signal,
        )
    finally:
        own.end()


async def put_on_rabbitmq(settings: Settings, body: bytes) -> None:
    declared = with_settings(provider("rabbitmq"), settings).open_publisher()
    await declared.check()  # the queues are there
    await declared.close()
    connection = await aio_pika.connect(settings.queue.tables["rabbitmq"]["url"])
    async with connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(body), f"{settings.namespace}.queue.normal")


RABBITMQ = Kind(
    shared=lambda request: {"rabbitmq": {"url": request.getfixturevalue("rabbitmq_url")}},
    own=own_rabbitmq,
    put=put_on_rabbitmq,
    hastened=lambda patch: patch.setattr(rabbitmq_consumer, "ABANDONED", ABANDONED),
)


SASL = """
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
  username="admin" password="admin" user_admin="admin" user_worker="{password}";
"""


@asynccontextmanager
async def own_kafka(folder: Path) -> AsyncIterator[OwnServer]:
    require("kafka")
    own = KafkaServer(folder, properties=SASL.format(password=PASSWORD))
    own.start()
    try:
        known = {"bootstrap_servers": own.bootstrap, "username": "worker", "sasl_mechanism": "PLAIN"}
        yield OwnServer(
            queue={"kafka": known | {"password": PASSWORD}},
            refused={"kafka": known | {"password": f"{PASSWORD}x"}},
            kill=own.kill,
            start=own.start,
            send=own.process.signal,
        )
    finally:
        own.kill()


async def put_on_kafka(settings: Settings, body: bytes) -> None:
    declared = with_settings(provider("kafka"), settings).open_publisher()
    await declared.check()  # the topics are there
    await declared.close()
    servers = settings.queue.tables["kafka"]["bootstrap_servers"]
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer:
        await producer.send_and_wait(f"{settings.namespace}.queue.normal", body)


KAFKA = Kind(
    shared=lambda request: {"kafka": {"bootstrap_servers": request.getfixturevalue("kafka_bootstrap")}},
    own=own_kafka,
    put=put_on_kafka,
)


def cloud_tasks_at(server: CloudTasksServer) -> dict[str, Any]:
    port = free_port()
    return {
        "cloudtasks": {
            "project": "p",
            "location": "l",
            "service_account": "caller@p.iam.gserviceaccount.com",
            "receiver_url": f"http://{LOOPBACK}:{port}/tasks",
            "endpoint": server.address,
            "issuer": server.issuer,
            "keys_url": f"{server.issuer}/jwks",
            "listen_port": 0,
        }
    }


class Behind:
    """A receiver behind a load balancer."""

    def __init__(self, receiver: CloudTasksReceiver, balancer: Balancer) -> None:
        self._receiver, self._balancer, self._url = receiver, balancer, ""

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if not self._url:
            found = await self._receiver.receive(limit, timedelta(0))
            assert not found
            self._url = f"http://{LOOPBACK}:{self._receiver.port}"
            self._balancer.receivers.append(self._url)
        return await self._receiver.receive(limit, wait)

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        await self._receiver.ack(deliveries)

    async def close(self) -> None:
        if self._url in self._balancer.receivers:
            self._balancer.receivers.remove(self._url)
        await self._receiver.close()


BALANCERS: dict[str, Balancer] = {}


def behind_balancer(configured: Configured, worker: str, stack: AsyncExitStack) -> Consumer:
    table = configured.table
    assert isinstance(table, CloudTasksSettings)
    if table.receiver_url not in BALANCERS:
        port = urlsplit(table.receiver_url).port
        assert port
        BALANCERS[table.receiver_url] = balancer = Balancer(port)
        balancer.start()
        stack.push_async_callback(balancer.close)
        stack.callback(BALANCERS.pop, table.receiver_url)
    receiver = configured.open_receiver()
    assert isinstance(receiver, CloudTasksReceiver)
    return Behind(receiver, BALANCERS[table.receiver_url])


@asynccontextmanager
async def own_cloud_tasks(folder: Path) -> AsyncIterator[OwnServer]:
    require("cloudtasks")
    own = CloudTasksServer(folder)
    own.start()
    queue = cloud_tasks_at(own)
    refused = {"cloudtasks": queue["cloudtasks"] | {"endpoint": "", "credentials_file": folder / "none.json"}}
    try:
        yield OwnServer(queue=queue, refused=refused, kill=own.kill, start=own.start, send=own.process.signal)
    finally:
        own.kill()


async def put_on_cloud_tasks(settings: Settings, body: bytes) -> None:
    table = CloudTasksSettings(**settings.queue.tables["cloudtasks"])
    publisher = CloudTasksPublisher(table, settings.namespace, LIMIT_BYTES)
    await publisher.check()  # the queues are there
    await publisher.close()
    client: Any = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(table.endpoint))
    )
    request = {
        "url": table.receiver_url,
        "body": body,
        "oidc_token": {"service_account_email": table.service_account, "audience": table.receiver_url},
    }
    task: Any = {"http_request": request}
    await client.create_task(parent=publisher.queues[Priority.NORMAL], task=task)
    await client.transport.close()


def hasten_cloud_tasks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cloud_tasks_receiver, "TAKEN_SECONDS", 0.1)
    patch.setattr(cloud_tasks_receiver, "SETTLED_SECONDS", 3.0)
    patch.setattr(cloud_tasks_publisher, "BACKOFF", (Duration(nanos=50_000_000), Duration(nanos=50_000_000)))


CLOUD_TASKS = Kind(
    shared=lambda request: cloud_tasks_at(request.getfixturevalue("cloud_tasks_server")),
    own=own_cloud_tasks,
    put=put_on_cloud_tasks,
    open_consumer=behind_balancer,
    hastened=hasten_cloud_tasks,
)
KINDS: dict[str, Kind] = {
    "redis": REDIS,
    "nats": NATS,
    "rabbitmq": RABBITMQ,
    "kafka": KAFKA,
    "cloudtasks": CLOUD_TASKS,
}


def messages(count: int, priority: Priority = Priority.NORMAL) -> list[Message]:
    return [Message(job="backup", priority=priority, context={"n": n}) for n in range(count)]


async def receive_all(consumer: Consumer, count: int) -> list[Delivery]:
    """Receive several times, because a consumer looks for messages of dead workers only when a receive begins."""
    found: list[Delivery] = []

    async def all_came() -> bool:
        found.extend(await consumer.receive(count - len(found), MOMENT))
        return len(found) == count

    await wait_until(all_came, f"{count} deliveries")
    return found
