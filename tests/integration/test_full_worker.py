"""What a full worker received and cannot begin goes into the ready list of the store, and runs on another worker."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

from horae.clock import monotonic
from horae.duties.duty import Progresses, keep_doing
from horae.duties.workplace import Workplace, open_workplace
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Tier
from horae.messages import Message, Priority
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues import ready as room
from horae.queues.base import Consumer, Delivery
from horae.queues.closing import close_all
from horae.queues.configured import with_settings
from horae.queues.providers import provider
from horae.queues.ready import ReadyList
from horae.reasons import Reason
from horae.runs import State
from horae.settings import Settings, StoreSettings
from horae.store.values import NewRun
from tests.contract.brokers import KINDS, MOMENT, messages
from tests.contract.stores import new, state
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
QUICK = 20


@pytest.fixture(params=[name for name in KINDS if provider(name).capabilities.held])
def settings(request: pytest.FixtureRequest, tmp_path: Path, namespace: str, valkey_url: str) -> Settings:
    queue = KINDS[request.param].shared(request)
    if request.param == "cloudtasks":
        url = urlsplit(queue["cloudtasks"]["receiver_url"])
        queue["cloudtasks"]["listen_port"] = url.port  # no load balancer stands before a single receiver
    return Settings(
        project=tmp_path,
        namespace=namespace,
        store=StoreSettings(url=SecretStr(valkey_url)),
        queue={"provider": request.param, **queue},
    )


def registry_of(**functions: Any) -> Registry:
    registry = Registry()
    for name, function in functions.items():
        registry.add(Job(name=name, tier=Tier.ONEIRIC, function=function, overlap=Overlap.ALLOW))
    return registry


@asynccontextmanager
async def worker(
    settings: Settings, name: str, slots: int, registry: Registry, *, called: bool
) -> AsyncIterator[Workplace]:
    """A worker in this process. `called`: it is the receiver where the broker calls one."""
    metrics, stopping = Metrics(), asyncio.Event()
    async with open_workplace(settings, name, slots, metrics) as place:
        opened: Mapping[str, Consumer] = place.queues.open_consumers(name) | (
            place.queues.open_receivers() if called else {}
        )
        sources = place.sources(opened)
        duties = [place.consumer(provider, source, registry) for provider, source in sources.items()]
        progresses = Progresses(metrics)
        tasks = [asyncio.create_task(keep_doing(one, progresses, stopping)) for one in (*duties, *place.movers())]
        try:
            yield place
        finally:
            stopping.set()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await close_all(sources.values())


def runs(job: str, provider: str, count: int) -> list[NewRun]:
    return [new(job, provider=provider) for _ in range(count)]


async def test_another_worker_runs_it_within_seconds(settings: Settings) -> None:
    held, ended, ran = asyncio.Event(), asyncio.Event(), list[float]()

    async def hold() -> None:
        held.set()
        await ended.wait()

    async def quick() -> None:
        ran.append(monotonic())

    registry, name = registry_of(hold=hold, quick=quick), settings.queue.provider
    async with worker(settings, "full", 1, registry, called=True) as full:
        [long] = runs("hold", name, 1)
        await full.store.outbox.accept([long])
        await asyncio.wait_for(held.wait(), 60)
        async with worker(settings, "free", 4, registry, called=False):
            asked = monotonic()
            await full.store.outbox.accept(runs("quick", name, QUICK))
            await wait_until(lambda: len(ran) == QUICK, "the runs on the other worker", 30)
            assert max(ran) - asked < 10
            ended.set()

            async def ran_too() -> bool:
                return (await state(full.store, long.run_id)).state is State.RAN

            await wait_until(ran_too, "the long run to end")


@pytest.mark.parametrize("full", [False, True])
async def test_an_unsigned_message_is_refused_also_after_it_was_in_the_list(settings: Settings, full: bool) -> None:
    (settings.project / "keys").write_text(f"{32 * 'k'}\n")
    queue = settings.queue.model_copy(update={"signing_keys_file": settings.project / "keys"})
    settings = settings.model_copy(update={"queue": queue})
    held, ended, ran = asyncio.Event(), asyncio.Event(), list[str]()

    async def hold() -> None:
        held.set()
        await ended.wait()

    async def quick() -> None:
        ran.append("forged")

    registry, name = registry_of(hold=hold, quick=quick), settings.queue.provider
    forger = with_settings(provider(name), settings).open_publisher()
    async with worker(settings, "first", 1, registry, called=True) as first:
        if full:
            await first.store.outbox.accept(runs("hold", name, 1))
            await asyncio.wait_for(held.wait(), 60)
        await forger.publish([Message(job="quick")])
        async with worker(settings, "second", 4, registry, called=False):

            async def buried() -> bool:
                return [one.reason for one in await first.store.dead_letters.newest()] == [Reason.UNVERIFIED]

            await wait_until(buried, "the message to be a dead letter", 30)
            ended.set()
    assert ran == []
    await forger.close()


async def test_the_list_is_bounded_and_loses_nothing(
    program_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST", 3)
    ready, sent = ReadyList(program_settings), messages(2, Priority.HIGH)
    assert await ready.room() == 3
    await ready.put([Delivery(body=one.encode(65536), message=one, receipt=None) for one in sent])
    assert await ready.room() == 1
    first = ready.open_consumer("w1")
    found = await first.receive(5, MOMENT)
    assert [one.message for one in found] == sent
    assert await ready.room() == 1, "what is not acknowledged is still there"
    await first.ack(found)
    assert await ready.room() == 3
    await close_all([first, ready])
