"""Queue providers to hold to the contract: a further one joins PROVIDERS, and SERVERS if it has a server."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from horae.messages import Message, Priority
from horae.queues.base import Consumer, Delivery, Publisher
from horae.queues.memory import MemoryBroker, MemoryConsumer, MemoryPublisher
from horae.redis.keys import FIELD, stream_of
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
class Broker:
    """One provider with a namespace of its own."""

    publisher: Publisher
    consumer: Callable[[str], Consumer]
    """A worker of that name."""
    put: Callable[[bytes], Awaitable[None]]
    """Publish raw bytes, as another program would."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server of the test's own, with a broker on it."""

    broker: Broker
    kill: Callable[[], None]
    """As kill -9 does."""
    start: Callable[[], None]
    refused: Broker = field(repr=False)
    """The same with credentials that the server refuses."""


@asynccontextmanager
async def memory_broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with AsyncExitStack() as stack:
        server = MemoryBroker(LIMIT_BYTES)

        async def put(body: bytes) -> None:
            server.put(Priority.NORMAL, body)

        def consumer(name: str) -> Consumer:
            opened = MemoryConsumer(server)
            stack.push_async_callback(opened.close)
            return opened

        yield Broker(publisher=MemoryPublisher(server), consumer=consumer, put=put)


def redis_broker_at(url: str, stack: AsyncExitStack) -> Broker:
    from horae.queues.redis import RedisConsumer, RedisPublisher

    namespace = f"t{uuid.uuid4().hex[:12]}"
    publisher = RedisPublisher(url, namespace, LIMIT_BYTES)
    stack.push_async_callback(publisher.close)

    async def put(body: bytes) -> None:
        client = redis.asyncio.Redis.from_url(url)
        await client.xadd(stream_of(namespace, Priority.NORMAL), {FIELD: body})
        await client.aclose()

    def consumer(name: str) -> Consumer:
        opened = RedisConsumer(url, namespace, LIMIT_BYTES, name)
        stack.push_async_callback(opened.close)
        return opened

    return Broker(publisher=publisher, consumer=consumer, put=put)


@asynccontextmanager
async def redis_broker(request: pytest.FixtureRequest) -> AsyncIterator[Broker]:
    async with AsyncExitStack() as stack:
        yield redis_broker_at(request.getfixturevalue("valkey_url"), stack)


@asynccontextmanager
async def redis_server(folder: Path) -> AsyncIterator[Server]:
    own = OwnValkey(folder, fsync="always")
    own.start()
    try:
        admin: Any = redis.asyncio.Redis.from_url(own.url)
        await admin.execute_command("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        await admin.aclose()
        async with AsyncExitStack() as stack:
            wrong = own.url.replace("redis://", f"redis://worker:{QUOTED}x@")
            yield Server(
                broker=redis_broker_at(own.url, stack),
                refused=redis_broker_at(wrong, stack),
                kill=own.kill,
                start=own.start,
            )
    finally:
        own.kill()


PROVIDERS: dict[str, Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[Broker]]] = {
    "memory": memory_broker,
    "redis": redis_broker,
}
SERVERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Server]]] = {"redis": redis_server}


def messages(count: int, priority: Priority = Priority.NORMAL) -> list[Message]:
    return [Message(job="backup", priority=priority, context={"n": n}) for n in range(count)]


async def receive_all(consumer: Consumer, count: int) -> list[Delivery]:
    """In several receives: what a dead worker left is only looked for when one begins."""
    found: list[Delivery] = []

    async def all_came() -> bool:
        found.extend(await consumer.receive(count - len(found), MOMENT))
        return len(found) == count

    await wait_until(all_came, f"{count} deliveries")
    return found
