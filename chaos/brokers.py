"""The broker of a chaos run whose messages do not go through the store's own server, behind a proxy for all clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.balancer import Balancer
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.brokers.process import BrokerProcess
from tests.brokers.rabbitmq import RabbitServer
from tests.proxy import Proxy

STORE_ITSELF = "redis"
"""The provider that needs no broker: the store's own server carries its messages."""
FORGETFUL = "cloudtasks"
"""Its emulator keeps tasks in memory, so a chaos run does not restart it. Google's service keeps them."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    process: BrokerProcess
    start: Callable[[], None]
    end: Callable[[], None]
    proxy: Proxy
    table: dict[str, str]
    """Its settings, `[queue.NAME]`."""
    listens: tuple[dict[str, str], ...] = ()
    """Where the broker calls: for each receiver the variables that say where it listens. Empty: workers poll."""

    def restart(self) -> None:
        self.process.kill()
        self.start()


@asynccontextmanager
async def opened(provider: str, folder: Path) -> AsyncIterator[Broker]:
    """Started. Leaving it kills the server."""
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(Proxy(0))
        own = folder / provider
        own.mkdir()
        broker = OPENERS[provider](own, proxy, stack)
        stack.callback(broker.end)
        await asyncio.to_thread(broker.start)
        yield broker


def _polled(
    server: NatsServer | KafkaServer | RabbitServer, proxy: Proxy, end: Callable[[], None], **table: str
) -> Broker:
    proxy.target_port = server.port
    return Broker(process=server.process, start=server.start, end=end, proxy=proxy, table=table)


def _nats(folder: Path, proxy: Proxy, stack: AsyncExitStack) -> Broker:
    server = NatsServer(folder)
    return _polled(server, proxy, server.kill, url=f"nats://{LOOPBACK}:{proxy.port}")


def _rabbitmq(folder: Path, proxy: Proxy, stack: AsyncExitStack) -> Broker:
    server = RabbitServer(folder)
    return _polled(server, proxy, server.end, url=f"amqp://guest:guest@{LOOPBACK}:{proxy.port}/")


def _kafka(folder: Path, proxy: Proxy, stack: AsyncExitStack) -> Broker:
    server = KafkaServer(folder, proxy.port)
    return _polled(server, proxy, server.kill, bootstrap_servers=f"{LOOPBACK}:{proxy.port}")


def _cloud_tasks(folder: Path, proxy: Proxy, stack: AsyncExitStack) -> Broker:
    server = CloudTasksServer(folder)
    proxy.target_port = server.port
    balancer = Balancer(free_port())
    balancer.start()
    stack.push_async_callback(balancer.close)
    ports = [free_port(), free_port()]
    balancer.receivers += [f"http://{LOOPBACK}:{port}" for port in ports]
    table = {
        "project": "p",
        "location": "l",
        "service_account": "caller@p.iam.gserviceaccount.com",
        "receiver_url": f"http://{LOOPBACK}:{balancer.port}/tasks",
        "endpoint": f"{LOOPBACK}:{proxy.port}",
        "issuer": server.issuer,
        "keys_url": f"{server.issuer}/jwks",
    }
    return Broker(
        process=server.process,
        start=server.start,
        end=server.kill,
        proxy=proxy,
        table=table,
        listens=tuple({"HORAE_QUEUE__CLOUDTASKS__LISTEN_PORT": str(port)} for port in ports),
    )


OPENERS: dict[str, Callable[[Path, Proxy, AsyncExitStack], Broker]] = {
    "nats": _nats,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
    FORGETFUL: _cloud_tasks,
}
PROVIDERS = (STORE_ITSELF, *OPENERS)
