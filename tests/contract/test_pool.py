"""The pool of an asyncio client, on a real server: if all its connections are in use, callers wait for one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import ConnectionError

from horae.redis.access import RedisAccess
from horae.redis.clients import open_client
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
LONG = 30.0


@asynccontextmanager
async def two_connections(url: str, timeout_seconds: float = LONG) -> AsyncIterator[Any]:
    client = open_client(url, RedisAccess(), "pool", timeout_seconds=timeout_seconds, limit=2)
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def other(valkey_url: str) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis.from_url(valkey_url) as client:
        yield client


async def both_wait(other: Any) -> None:
    """Wait until two connections of the server wait in BLPOP."""

    async def wait() -> bool:
        return [one["cmd"] for one in await other.client_list()].count("blpop") == 2

    await wait_until(wait, "both connections")


async def test_a_connection_that_becomes_free_goes_to_a_caller_that_waits(
    valkey_url: str, other: Any, namespace: str
) -> None:
    first, second, third = (f"{namespace}:{name}" for name in ("first", "second", "third"))
    async with two_connections(valkey_url) as client:
        pops = [asyncio.create_task(client.blpop(key, LONG)) for key in (first, second, third)]
        await both_wait(other)
        late = asyncio.create_task(client.ping())
        await other.rpush(third, "a value that waits for a connection")
        await other.rpush(first, "a value")
        await asyncio.gather(pops[0], pops[2], late)
        assert not pops[1].done()
        await other.rpush(second, "a value")
        await pops[1]


async def test_a_full_pool_is_an_error_after_the_time_limit(valkey_url: str, other: Any, namespace: str) -> None:
    async with two_connections(valkey_url, timeout_seconds=0.2) as client:
        pops = [asyncio.create_task(client.blpop(f"{namespace}:{number}", 0.5)) for number in range(2)]
        await both_wait(other)
        with pytest.raises(ConnectionError, match="No connection available"):
            await client.ping()
        await asyncio.gather(*pops, return_exceptions=True)
        assert await client.ping(), "a connection is free again"
