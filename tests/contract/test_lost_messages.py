"""Each broker loses the messages of 1,000 queued runs with their queue, stream or topic. All run, and none twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from horae.duties import reconciler
from horae.duties.duty import Duty, Progresses, keep_doing
from horae.duties.reconciler import Reconciler
from horae.duties.relay import Relay
from horae.jobs.policies import Overlap
from horae.metrics.process import Metrics
from horae.queues.opened import open_queues
from horae.runs import State, Verdict
from horae.settings import Settings, StoreSettings
from horae.store import Store, connect
from horae.store.values import Answer, Only, Policy, Settlement, Wanted
from tests.brokers.wiping import WIPE
from tests.contract.brokers import KINDS
from tests.contract.stores import LEASE, new
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
RUNS = 1000
SOON = timedelta(milliseconds=200)
OPEN = Only(states=frozenset({State.PENDING, State.QUEUED, State.RUNNING, State.RETRYING}))


@dataclass
class Running:
    """A store with a broker, and the duties that publish."""

    settings: Settings
    store: Store
    queues: Any


@asynccontextmanager
async def running(name: str, settings: Settings) -> AsyncIterator[Running]:
    queues, metrics, stopping = open_queues(settings), Metrics(), asyncio.Event()
    after = timedelta(seconds=settings.queue.republish_after_seconds)
    async with connect(settings) as store:
        duties: list[Duty] = [Relay(store, queues.router, metrics, name), Reconciler(store, queues.router, name, after)]
        progresses = Progresses(metrics)
        tasks = [asyncio.create_task(keep_doing(duty, progresses, stopping)) for duty in duties]
        yield Running(settings, store, queues)
        stopping.set()
        await asyncio.gather(*tasks)
    await queues.router.close()


@pytest.fixture(params=["carried", *KINDS])
def broker(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The provider, and the settings of `[queue]`. `carried`: the store's own server carries the messages."""
    if request.param == "carried":
        return "redis", {}
    # RabbitMQ does not count what a worker holds, so only the time says that a message is lost.
    after = {"republish_after_seconds": 1} if request.param == "rabbitmq" else {}
    queue = KINDS[request.param].shared(request)
    if request.param == "cloudtasks":
        url = urlsplit(queue["cloudtasks"]["receiver_url"])
        queue["cloudtasks"]["listen_port"] = url.port  # no load balancer stands before a single receiver
    return request.param, queue | after


async def test_all_runs_are_found_and_none_runs_twice(
    broker: tuple[str, dict[str, Any]], second_valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, queue = broker
    monkeypatch.setattr(reconciler, "EMPTY", SOON)
    monkeypatch.setattr(reconciler, "POLL_SECONDS", SOON.total_seconds())
    settings = Settings(
        namespace=namespace, store=StoreSettings(url=SecretStr(second_valkey_url)), queue={"provider": name, **queue}
    )
    async with running(name, settings) as here:
        await here.store.outbox.accept([new(provider=name) for _ in range(RUNS)])

        async def queued() -> bool:
            return [one.queued for one in await here.store.outbox.by_provider()] == [RUNS]

        await wait_until(queued, "all runs to be queued", 60)
        await WIPE[name](settings)
        began = await run_all(here, name)
        assert set(began.values()) == {1}, "the claim discards each second copy"
        assert len(began) == RUNS


async def run_all(here: Running, name: str) -> Counter[str]:
    """Work until no run is open. Returns how often each was begun."""
    began: Counter[str] = Counter()
    consumer = (here.queues.open_consumers("w1") | here.queues.open_receivers())[name]
    policy = Policy(overlap=Overlap.ALLOW)

    async def all_ran() -> bool:
        deliveries = await consumer.receive(100, timedelta(seconds=1))
        wanted = [Wanted(message=one.message, policy=policy) for one in deliveries if one.message]
        claims = await here.store.claims.claim(wanted, "w1", LEASE) if wanted else []
        granted = [one for one in claims if one.answer is Answer.RUN]
        began.update(one.message.run_id for one in granted)
        if granted:
            await here.store.claims.settle([Settlement(claim=one, verdict=Verdict.RAN) for one in granted])
        await consumer.ack(deliveries)
        return len(began) == RUNS and not await here.store.ledger.runs(only=OPEN, limit=1)

    await wait_until(all_ran, "all runs to have run", 90)
    await consumer.close()
    return began
