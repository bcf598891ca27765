"""Stores for the contract: each test runs on memory and on a real Valkey."""

from collections.abc import AsyncIterator

import pytest

from horae.settings import StoreSettings
from horae.store import Store
from horae.store.memory import MemoryStore
from horae.store.redis import RedisStore
from tests.contract.stores import Clock, steered_store

STORES = ("memory", "valkey")


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Store]:
    """By its own clock: the machine's or the server's."""
    if request.param == "memory":
        yield MemoryStore(namespace)
        return
    opened = RedisStore(request.getfixturevalue("valkey_url"), namespace, StoreSettings())
    await opened.check()
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store_settings() -> StoreSettings:
    """What `steered` is configured with; a test module may say otherwise."""
    return StoreSettings()


@pytest.fixture(params=STORES)
async def steered(
    request: pytest.FixtureRequest, namespace: str, clock: Clock, store_settings: StoreSettings
) -> AsyncIterator[Store]:
    """By `clock`, which the test moves."""
    if request.param == "memory":
        yield MemoryStore(namespace, clock, store_settings)
        return
    opened = steered_store(request.getfixturevalue("valkey_url"), namespace, store_settings, clock)
    yield opened
    await opened.close()
