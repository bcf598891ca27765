"""One provider that is down is reported and is not in the way of the others."""

import asyncio
from datetime import timedelta

import pytest
from pydantic import SecretStr

from horae.duties.duty import Progresses, keep_doing
from horae.duties.relay import Relay
from horae.duties.unserved import PATIENCE, Unserved
from horae.errors import ProviderNotServed, QueueUnavailable, StoreUnavailable
from horae.jobs.policies import Tier
from horae.metrics.process import Metrics
from horae.queues.opened import open_queues
from horae.runs import Cause
from horae.settings import QueueSettings, Settings
from horae.store.values import NewRun
from tests.contract.stores import Clock
from tests.model import ModelStore
from tests.waiting import wait_until

SETTINGS = Settings(queue=QueueSettings(redis_url=SecretStr("redis://127.0.0.1:1/0")))
"""Routing chooses a provider and connects to none."""


class Works:
    """A duty of one provider, with what it waits for."""

    def __init__(self, provider: str, trouble: Exception | None = None) -> None:
        self.name, self.provider, self.trouble = f"relay {provider}", provider, trouble

    async def step(self) -> float:
        if self.trouble:
            raise self.trouble
        return 0.01


async def told(*duties: Works) -> tuple[list[str], list[str]]:
    """The duties that make the process not ready, and those that only degrade it."""
    progresses, stopping = Progresses(Metrics()), asyncio.Event()
    tasks = [asyncio.create_task(keep_doing(duty, progresses, stopping)) for duty in duties]
    wanted = {duty.name for duty in duties if duty.trouble}

    async def all_said() -> bool:
        return {*progresses.troubles(), *progresses.degraded()} == wanted

    await wait_until(all_said, "the duties to go round")
    stopping.set()
    await asyncio.gather(*tasks)
    return sorted(progresses.troubles()), sorted(progresses.degraded())


async def test_one_of_two_that_is_down_is_reported_and_the_process_is_ready() -> None:
    assert await told(Works("nats", QueueUnavailable("away")), Works("redis")) == ([], ["relay nats"])


async def test_without_another_one_that_works_the_process_is_not_ready() -> None:
    away = QueueUnavailable("away")
    assert await told(Works("nats", away)) == (["relay nats"], [])
    assert await told(Works("nats", away), Works("redis", away)) == (["relay nats", "relay redis"], [])


async def test_the_store_is_everybodys() -> None:
    assert await told(Works("nats", StoreUnavailable("away")), Works("redis")) == (["relay nats"], [])


def new(run_id: str, provider: str) -> NewRun:
    return NewRun(run_id=run_id, job="backup", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider=provider)


async def test_runs_of_a_provider_without_settings_wait_and_the_setting_is_named() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    router = open_queues(SETTINGS).router
    duty = Unserved(store, router, timedelta(hours=1))
    await store.outbox.accept([new("r1", "nats"), new("r2", "nats"), new("r3", "redis"), new("r4", "")])
    assert await duty.step() > 0, "a process with its settings may be about to publish it"
    clock.move(PATIENCE + timedelta(seconds=1))
    with pytest.raises(ProviderNotServed, match=r"^2 runs wait for provider nats, the first for 6 s: .*\[queue.nats\]"):
        await duty.step()
    assert [len((await store.outbox.take([name], 10, PATIENCE)).entries) for name in ("redis", "nats")] == [1, 2]


async def test_a_relay_takes_its_own_and_that_of_the_default_what_names_none() -> None:
    store, router = ModelStore(), open_queues(SETTINGS).router
    await store.outbox.accept([new("r1", "nats"), new("r2", "redis"), new("r3", "")])
    with pytest.raises(QueueUnavailable):
        await Relay(store, router, Metrics(), "redis").step()
    left = [len((await store.outbox.take([name], 10, PATIENCE)).entries) for name in ("nats", "redis", "")]
    assert left == [1, 0, 0], "what the relay took comes up again after its hold"
