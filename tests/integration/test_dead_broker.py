"""A broker that takes connections and never answers delays only its own messages."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis.asyncio
from pydantic import SecretStr

from horae.clock import monotonic
from horae.duties.duty import Progresses, keep_doing
from horae.duties.relay import Relay
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.queues.opened import open_queues
from horae.redis.keys import key_prefix
from horae.runs import Cause, new_run_id
from horae.settings import QueueSettings, Settings, StoreSettings
from horae.store import Store, connect
from horae.store.values import NewRun

pytestmark = pytest.mark.requires("valkey")
DUE = 50_000
WITHIN = timedelta(seconds=5)
"""It takes about 0.3 s. In series behind the dead broker it would take minutes."""


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def new(provider: str) -> NewRun:
    return NewRun(run_id=new_run_id(), job="backup", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider=provider)


COPY = """
local id = string.gsub(ARGV[3], '%%', '')
local row, due = redis.call('HGETALL', KEYS[1] .. 'run:' .. id), redis.call('ZSCORE', KEYS[1] .. 'outbox', id)
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id, copy = 'copy-' .. n, {}
  for i = 1, #row do copy[i] = string.gsub(row[i], ARGV[3], id) end
  redis.call('HSET', KEYS[1] .. 'run:' .. id, unpack(copy))
  for _, set in ipairs({ 'outbox', 'outbox:nats' }) do redis.call('ZADD', KEYS[1] .. set, due, id) end
end
"""


async def many_due(store: Store, url: str, namespace: str) -> None:
    """DUE runs for NATS: one that is accepted, and copies of its row."""
    await store.outbox.accept([first := new("nats")])
    client = redis.asyncio.Redis.from_url(url)
    for start in range(2, DUE + 1, 1000):
        end = min(start + 999, DUE)
        await client.eval(COPY, 1, key_prefix(namespace), start, end, first.run_id.replace("-", "%-"))
    await client.aclose()


async def test_fires_of_redis_leave_while_nats_is_down_from_the_start(
    valkey_url: str, second_valkey_url: str, namespace: str, silent_port: int
) -> None:
    settings = Settings(
        namespace=namespace,
        store=StoreSettings(url=SecretStr(valkey_url)),
        queue=QueueSettings.model_validate(
            {"redis_url": second_valkey_url, "nats": {"url": f"nats://127.0.0.1:{silent_port}"}}
        ),
    )
    queues, metrics, stopping = open_queues(settings), Metrics(), asyncio.Event()
    progresses = Progresses(metrics)
    consumer = queues.open_consumers("w1")["redis"]
    async with connect(settings) as store:
        await many_due(store, valkey_url, namespace)
        relays = [Relay(store, queues.router, metrics, name) for name in queues.router.names]
        duties = [asyncio.create_task(keep_doing(one, progresses, stopping)) for one in relays]
        fires = [new("redis") for _ in range(100)]
        began = monotonic()
        await store.outbox.accept(fires)
        left = {fire.run_id for fire in fires}
        while left and monotonic() - began < WITHIN.total_seconds():
            received = await consumer.receive(len(left), timedelta(seconds=1))
            left -= {one.message.run_id for one in received if one.message}
            await consumer.ack(received)
        print(f"{len(fires)} fires left within {monotonic() - began:.2f} s")
        assert not left
        [nats] = [one for one in await store.outbox.by_provider() if one.provider == "nats"]
        assert (nats.outbox, nats.queued) == (DUE, 0), "nothing of the dead broker is lost"
        stopping.set()
        await asyncio.gather(*duties)
    await consumer.close()
    await queues.router.close()
