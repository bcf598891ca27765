"""Stores for the contract tests. Each test runs on the model, and on a real Valkey in both supported schemas."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from horae.settings import StoreSettings
from horae.store import Store
from horae.store.redis import RedisStore
from tests.contract.brokers import KINDS, Broker, Server, own_server, shared_broker
from tests.contract.stores import Clock, steered_store, upgrade
from tests.model import ModelStore

STORES = ("model", "valkey", "upgraded")
"""`upgraded`: Valkey with the newest schema. `valkey`: with the previous schema, as before an upgrade."""


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Store]:
    """A store with a real clock: the machine's or the server's."""
    if request.param == "model":
        yield ModelStore(namespace)
        return
    url = request.getfixturevalue("valkey_url")
    if request.param == "upgraded":
        upgrade(url, namespace)
    opened = RedisStore(url, namespace, StoreSettings())
    await opened.check()
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store_settings() -> StoreSettings:
    """The settings of `steered`. A test module may override them."""
    return StoreSettings()


@pytest.fixture(params=STORES)
async def steered(
    request: pytest.FixtureRequest, namespace: str, clock: Clock, store_settings: StoreSettings
) -> AsyncIterator[Store]:
    """A store with the clock `clock`, which the test moves."""
    if request.param == "model":
        yield ModelStore(namespace, clock, store_settings)
        return
    url = request.getfixturevalue("valkey_url")
    if request.param == "upgraded":
        upgrade(url, namespace)
    opened = steered_store(url, namespace, store_settings, clock)
    yield opened
    await opened.close()


@pytest.fixture(params=KINDS)
async def broker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Broker]:
    KINDS[request.param].hastened(monkeypatch)
    async with shared_broker(request.param, request) as opened:
        yield opened


@pytest.fixture(params=KINDS)
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Server]:
    KINDS[request.param].hastened(monkeypatch)
    async with own_server(request.param, tmp_path) as opened:
        yield opened
