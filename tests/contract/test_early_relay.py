"""Delayed runs on a real broker with schedules of its own: it has them before they are due, and the store decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import grpc.aio
import pytest
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from pydantic import SecretStr

from horae.clock import now
from horae.duties.consumer import Consumer
from horae.duties.duty import Progresses, keep_doing
from horae.duties.early_relay import EarlyRelay
from horae.duties.relay import Relay
from horae.duties.workplace import open_workplace
from horae.execution.work import Work
from horae.jobs.job import Job
from horae.jobs.policies import Overlap, Tier
from horae.messages import Priority
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.cloudtasks import publisher as cloud_tasks_publisher
from horae.queues.cloudtasks.publisher import CloudTasksPublisher
from horae.queues.cloudtasks.settings import CloudTasksSettings
from horae.queues.opened import Queues, open_queues
from horae.runs import State, Verdict
from horae.settings import Settings, StoreSettings
from horae.store import Store, connect
from horae.store.values import NewRun
from tests.brokers.cloud_tasks import CloudTasksServer
from tests.contract.brokers import KINDS, cloud_tasks_at
from tests.contract.stores import LEASE, new, state, taken
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("cloudtasks"), pytest.mark.requires("valkey")]
NAME = "cloudtasks"
SOON = timedelta(seconds=1)
LATER = timedelta(hours=1)
LATE = timedelta(seconds=3)
"""More than a busy machine takes from the call of the emulator to the beginning of the run."""


@dataclass
class Here:
    """A store, the emulator, and a receiver that works. No relay runs but those that a test steps."""

    store: Store
    queues: Queues
    client: Any
    names: dict[Priority, str]
    began: list[datetime] = field(default_factory=list)

    @property
    def early_relay(self) -> EarlyRelay:
        ahead = self.queues.router.ahead(NAME)
        assert ahead
        return EarlyRelay(self.store, self.queues.router, NAME, ahead)

    @property
    def relay(self) -> Relay:
        return Relay(self.store, self.queues.router, Metrics(), NAME)

    async def tasks(self) -> list[Any]:
        return [
            task
            for name in self.names.values()
            async for task in await self.client.list_tasks(request={"parent": name})
        ]

    async def place(self, delay: timedelta = SOON, **fields: Any) -> NewRun:
        """Accept a run that is due after that time, and give it to the broker."""
        run = new("count", provider=NAME, due=await self.store.now() + delay, **fields)
        await self.store.outbox.accept([run])
        await self.early_relay.step()
        return run

    async def ended(self, run: NewRun) -> Verdict:
        async def verdict() -> bool:
            return (await state(self.store, run.run_id)).verdict is not None

        await wait_until(verdict, "the end of the run", 20)
        found = (await state(self.store, run.run_id)).verdict
        assert found
        return found

    async def emptied(self) -> None:
        async def no_tasks() -> bool:
            return await self.tasks() == []

        await wait_until(no_tasks, "the broker to have no task", 20)


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[Any]:
    table = CloudTasksSettings(**settings.queue.tables[NAME])
    channel = grpc.aio.insecure_channel(table.endpoint)
    client: Any = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
    yield client
    await client.transport.close()


@pytest.fixture
def settings(cloud_tasks_server: CloudTasksServer, valkey_url: str, namespace: str) -> Settings:
    queue = cloud_tasks_at(cloud_tasks_server)
    # No load balancer stands before a single receiver.
    queue[NAME]["listen_port"] = urlsplit(queue[NAME]["receiver_url"]).port
    store = StoreSettings(url=SecretStr(valkey_url))
    return Settings(namespace=namespace, store=store, queue={"provider": NAME, **queue})


@pytest.fixture
async def here(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Here]:
    KINDS[NAME].hastened(monkeypatch)
    table = CloudTasksSettings(**settings.queue.tables[NAME])
    names = CloudTasksPublisher(table, settings.namespace, 1000).queues
    queues, stopping, registry = open_queues(settings), asyncio.Event(), Registry()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(admin(settings))
        store = await stack.enter_async_context(connect(settings))
        found = Here(store, queues, client, names)

        async def count() -> None:
            found.began.append(now())

        registry.add(Job(name="count", tier=Tier.ONEIRIC, function=count, overlap=Overlap.ALLOW))
        work = await stack.enter_async_context(Work(settings, store, Metrics(), 4, LEASE))
        [source] = queues.open_receivers().values()
        consumer = Consumer(NAME, source, store, registry, work, "w1", LEASE)
        stack.push_async_callback(queues.router.close)
        stack.push_async_callback(source.close)
        working = asyncio.create_task(keep_doing(consumer, Progresses(Metrics()), stopping))
        yield found
        stopping.set()
        await working


async def test_the_sidecar_has_one_for_each_provider_that_takes_times(settings: Settings) -> None:
    for given, names in ((settings, ["early relay cloudtasks"]), (Settings(store=settings.store), [])):
        async with open_workplace(given, "sidecar", 1, Metrics()) as place:
            assert [duty.name for duty in place.early_relays()] == names


async def test_a_delayed_run_begins_when_it_is_due_without_a_relay(here: Here) -> None:
    run = await here.place()
    [task] = await here.tasks()
    assert task.name.endswith(f"/tasks/{run.run_id}-1")
    assert run.due
    assert task.schedule_time == run.due.replace(microsecond=run.due.microsecond // 1000 * 1000)
    assert here.began == []
    assert (await state(here.store, run.run_id)).state is State.PENDING
    assert await here.ended(run) is Verdict.RAN
    [began] = here.began
    assert timedelta(0) <= began - run.due < LATE
    await here.emptied()


async def test_after_it_ran_nothing_is_published_again(here: Here) -> None:
    run = await here.place()
    assert await here.ended(run) is Verdict.RAN
    await here.emptied()
    assert await taken(here.store) == []
    await here.early_relay.step()
    await here.relay.step()
    assert await here.tasks() == []
    assert len(here.began) == 1


async def test_with_a_relay_that_publishes_it_too_it_runs_once(here: Here) -> None:
    runs = [await here.place() for _ in range(10)]
    stopping = asyncio.Event()
    relaying = asyncio.create_task(keep_doing(here.relay, Progresses(Metrics()), stopping))
    assert {await here.ended(run) for run in runs} == {Verdict.RAN}
    await here.emptied()
    stopping.set()
    await relaying
    assert len(here.began) == len(runs)


async def test_what_the_broker_lost_is_published_when_it_is_due(here: Here) -> None:
    run = await here.place()
    for name in here.names.values():
        await here.client.purge_queue(name=name)
    assert await here.tasks() == []

    async def published() -> bool:
        await here.relay.step()
        return (await state(here.store, run.run_id)).state is State.QUEUED

    await wait_until(published, "the relay")
    # The broker takes the name for that of a task that it has: the reconciler gives it another one.
    assert await here.store.outbox.republish(NAME, timedelta(0), "the broker has no messages", 10) == 1
    await here.relay.step()
    assert await here.ended(run) is Verdict.RAN


async def test_an_early_call_is_answered_with_later_and_does_not_run(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the broker is ahead of the store's."""
    schedule = CloudTasksPublisher.schedule
    monkeypatch.setattr(
        CloudTasksPublisher,
        "schedule",
        lambda self, messages: schedule(self, [(message, at - 2 * SOON) for message, at in messages]),
    )
    run = await here.place(2 * SOON)

    async def called() -> bool:
        return any(task.dispatch_count for task in await here.tasks())

    await wait_until(called, "an early call")
    [task] = [await here.client.get_task(name=one.name) for one in await here.tasks()]
    assert task.dispatch_count >= 1
    assert here.began == []
    assert (await state(here.store, run.run_id)).state is State.PENDING
    assert await here.ended(run) is Verdict.RAN
    assert run.due
    [began] = here.began
    assert timedelta(0) <= began - run.due < LATE
    await here.emptied()


async def test_a_cancelled_run_does_not_run(here: Here) -> None:
    run = await here.place()
    await here.store.claims.cancel(run.run_id)
    await here.emptied()
    assert (await state(here.store, run.run_id)).verdict is Verdict.CANCELLED
    assert here.began == []


async def test_a_paused_run_waits_for_the_end_of_the_pause(here: Here) -> None:
    run = await here.place()
    await here.store.pauses.pause("count")
    await here.emptied()
    assert (await state(here.store, run.run_id)).state is State.PENDING
    assert here.began == []
    assert await here.store.pauses.resume("count") == 1
    await here.relay.step()
    assert await here.ended(run) is Verdict.RAN


async def test_a_moved_run_leaves_the_broker(here: Here) -> None:
    run = await here.place()
    await here.store.moves.move("redis", "count")
    assert await here.store.moves.follow(NAME) == 1
    await here.emptied()
    assert here.began == []

    async def published() -> bool:
        await Relay(here.store, here.queues.router, Metrics(), "redis").step()
        return (await state(here.store, run.run_id)).state is State.QUEUED

    await wait_until(published, "the relay of the other provider")
    [consumer] = here.queues.open_consumers("w2").values()
    [delivery] = await consumer.receive(10, SOON)
    assert delivery.message
    assert (delivery.message.run_id, delivery.message.generation) == (run.run_id, 2)
    await consumer.close()


async def test_tasks_that_wait_for_their_time_are_no_backlog(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    await here.place(LATER)
    await here.place(LATER)
    backlog = await here.queues.router.backlog(NAME)
    assert backlog
    assert (backlog.messages, backlog.oldest) == (0, timedelta(0))
    monkeypatch.setattr(cloud_tasks_publisher, "COUNTED", 1)
    monkeypatch.setattr(cloud_tasks_publisher, "PAGES", 1)
    backlog = await here.queues.router.backlog(NAME)
    assert backlog
    assert backlog.messages == 1, "there are more tasks than it looks at, so it does not say that none waits"


async def test_a_month_ahead_is_the_most(here: Here) -> None:
    run = await here.place(timedelta(days=29, hours=22))
    await here.place(timedelta(days=30))
    assert [task.name.rsplit("/", 1)[1] for task in await here.tasks()] == [f"{run.run_id}-1"]
    await here.early_relay.step()
    assert len(await here.tasks()) == 1


async def test_a_run_with_a_message_that_is_too_large_by_now_delays_no_other(settings: Settings, here: Here) -> None:
    runs = [
        new("count", provider=NAME, due=await here.store.now() + LATER, context={"x": "x" * size})
        for size in (1, 2000, 1)
    ]
    await here.store.outbox.accept(runs)
    small = settings.model_copy(update={"queue": settings.queue.model_copy(update={"message_limit_bytes": 1024})})
    router = open_queues(small).router
    await EarlyRelay(here.store, router, NAME, 2 * LATER).step()
    await router.close()
    assert len(await here.tasks()) == 2
