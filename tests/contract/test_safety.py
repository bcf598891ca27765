"""If a store becomes unsafe while Horae uses it, no new run begins, and the ends of begun runs are still written."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis

from horae.errors import UnsafeStore
from horae.runs import Verdict
from horae.settings import StoreSettings
from horae.store.redis import RedisStore, connection
from tests.contract.stores import claim, new, send, settle
from tests.servers import OwnValkey

pytestmark = pytest.mark.requires("valkey")
UNSAFE = {
    "evicts": ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "evicts keys"),
    "forgets": ({"appendonly": "no"}, "append-only file"),
}
SAFE = {"maxmemory": "0", "maxmemory-policy": "noeviction", "appendonly": "yes"}


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnValkey]:
    server = OwnValkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def opened(own: OwnValkey, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(own.url, namespace, StoreSettings())
    yield store
    await store.close()


def test_it_is_looked_at_within_a_minute() -> None:
    assert connection.SAFE_SECONDS <= 60


@pytest.mark.parametrize(("changed", "said"), UNSAFE.values(), ids=UNSAFE)
async def test_a_change_of_its_configuration_is_noticed(
    own: OwnValkey, opened: RedisStore, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    monkeypatch.setattr(connection, "SAFE_SECONDS", 0.0)
    [begun, waiting] = await send(opened, new(), new())
    held = await claim(opened, begun)
    with redis.Redis(port=own.port) as operator:
        for name, value in changed.items():
            operator.config_set(name, value)
        for step in (
            lambda: opened.outbox.accept([new()]),
            lambda: opened.cursors.due(10),
            lambda: claim(opened, waiting),
        ):
            with pytest.raises(UnsafeStore, match=said):
                await step()
        assert await settle(opened, held, Verdict.RAN)
        for name, value in SAFE.items():
            operator.config_set(name, value)
        assert [one.new for one in await opened.outbox.accept([new()])] == [True]


async def test_it_is_not_asked_before_each_step(own: OwnValkey, opened: RedisStore) -> None:
    with redis.Redis(port=own.port) as operator:
        asked = []
        for _ in range(20):
            await opened.outbox.accept([new()])
            asked.append(operator.info("commandstats")["cmdstat_config|get"]["calls"])
        assert asked[0] == asked[-1]
