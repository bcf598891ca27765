"""Each broker loses the messages of 1,000 queued runs with their queue, stream or topic. All run, and none twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import grpc.aio
import nats
import pytest
import redis.asyncio
from aiokafka.admin import AIOKafkaAdminClient
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from pydantic import SecretStr

from horae.duties import reconciler
from horae.duties.duty import Duty, Progresses, keep_doing
from horae.duties.reconciler import Reconciler
from horae.duties.relay import Relay
from horae.jobs.policies import Overlap
from horae.messages import Priority
from horae.metrics.process import Metrics
from horae.queues.cloudtasks.publisher import CloudTasksPublisher
from horae.queues.cloudtasks.settings import CloudTasksSettings
from horae.queues.opened import open_queues
from horae.redis.keys import stream_of
from horae.runs import State, Verdict
from horae.settings import Settings, StoreSettings
from horae.store import Store, connect
from horae.store.values import Answer, Only, Policy, Settlement, Wanted
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


async def wipe_redis(settings: Settings) -> None:
    url = settings.queue.redis_url or settings.store.url
    assert url
    client = redis.asyncio.Redis.from_url(url.get_secret_value())
    await client.delete(*(stream_of(settings.namespace, priority) for priority in Priority))
    await client.aclose()


async def wipe_nats(settings: Settings) -> None:
    client = await nats.connect(settings.queue.tables["nats"]["url"])
    await client.jetstream().delete_stream(f"{settings.namespace}-queue")
    await client.close()


async def wipe_rabbitmq(settings: Settings) -> None:
    async with await aio_pika.connect(settings.queue.tables["rabbitmq"]["url"]) as connection:
        channel = await connection.channel()
        for priority in Priority:
            await channel.queue_delete(f"{settings.namespace}.queue.{priority.value}")


async def wipe_kafka(settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.queue.tables["kafka"]["bootstrap_servers"])
    await admin.start()
    topics = [f"{settings.namespace}.queue.{priority.value}" for priority in Priority]
    await admin.delete_topics(topics)

    async def gone() -> bool:
        return not set(topics) & set(await admin.list_topics())

    await wait_until(gone, "the topics to be deleted", 30)
    await admin.close()


async def wipe_cloudtasks(settings: Settings) -> None:
    table = CloudTasksSettings(**settings.queue.tables["cloudtasks"])
    publisher = CloudTasksPublisher(table, settings.namespace, 1000)
    client: Any = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(table.endpoint))
    )
    for queue in publisher.queues.values():
        await client.purge_queue(name=queue)
    await client.transport.close()


WIPE: dict[str, Callable[[Settings], Awaitable[None]]] = {
    "redis": wipe_redis,
    "nats": wipe_nats,
    "rabbitmq": wipe_rabbitmq,
    "kafka": wipe_kafka,
    "cloudtasks": wipe_cloudtasks,
}


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
