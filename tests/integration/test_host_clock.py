"""The host's clock is set wrong, forward and back, under a running scheduler of internal jobs; the store's is not."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from apscheduler.schedulers import base

from horae.apscheduler.host_clock import HostClock
from horae.apscheduler.scheduler import InternalScheduler
from horae.apscheduler.steady_clock import SteadyClock
from horae.clock import asleep, now
from horae.errors import ClockDiffers, StoreUnavailable
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.schedules.making import at, every
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from tests.servers import OwnValkey
from tests.waiting import wait_until

DAY = timedelta(days=1)
TOMORROW = "tomorrow"


class HostTime(datetime):
    """What APScheduler reads, and what a step of the host's clock moves."""

    shift = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.shift


class Fired:
    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.instants: list[datetime] = []
        self.together = 0

    async def __call__(self, job: Job, due: Sequence[datetime]) -> None:
        self.count[job.name] += len(due)
        self.together = max(self.together, len(due))
        self.instants += due


@pytest.fixture
async def store(valkey_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(valkey_url, namespace, StoreSettings())
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> type[HostTime]:
    monkeypatch.setattr(base, "datetime", HostTime)
    monkeypatch.setattr(HostTime, "shift", timedelta(0))
    return HostTime


@pytest.mark.parametrize("step", [DAY, -DAY, timedelta(days=365)])
async def test_internal_jobs_keep_their_pace_through_a_wrong_step_and_back(
    store: RedisStore, host: type[HostTime], step: timedelta
) -> None:
    fired = Fired()
    clock = SteadyClock(trusts_host=False, wall=lambda: host.now(UTC))
    async with InternalScheduler(fired, clock) as scheduler:
        scheduler.add(Job(name="beat", tier=Tier.APSCHEDULER, schedule=every("1s")))
        scheduler.add(Job(name=TOMORROW, tier=Tier.APSCHEDULER, schedule=at(now().replace(microsecond=0) + DAY / 2)))
        duty = HostClock(store, scheduler)
        await wait_until(lambda: fired.count["beat"] >= 1, "the first beat")
        for shift in (step, timedelta(0)):
            host.shift = shift
            before, began = fired.count["beat"], asyncio.get_running_loop().time()

            async def went_on(before: int = before) -> bool:
                with suppress(ClockDiffers):
                    await duty.step()
                return fired.count["beat"] >= before + 3

            await wait_until(went_on, f"beats with the clock at {shift}", 20)
            assert asyncio.get_running_loop().time() - began < 8
    assert fired.count[TOMORROW] == 0, "it fired early"
    assert max(abs(now() - due) for due in fired.instants) < timedelta(minutes=5)


async def test_a_wrong_clock_is_named(store: RedisStore, host: type[HostTime]) -> None:
    host.shift = DAY
    clock = SteadyClock(trusts_host=False, wall=lambda: host.now(UTC))
    async with InternalScheduler(Fired(), clock) as scheduler:
        with pytest.raises(ClockDiffers, match=r"differs from the store's clock by \+(1d|23h59m)"):
            await HostClock(store, scheduler).step()


async def test_while_the_store_is_away_the_host_is_followed(tmp_path: Path, host: type[HostTime]) -> None:
    away = RedisStore(f"unix://{tmp_path}/nothing.sock", "n", StoreSettings())
    clock = SteadyClock(trusts_host=False, wall=lambda: host.now(UTC))
    async with InternalScheduler(Fired(), clock) as scheduler:
        host.shift = -DAY
        assert await HostClock(away, scheduler).step() > 0
        assert abs(clock.now() - host.now(UTC)) < timedelta(seconds=5)
    await away.close()


@pytest.mark.parametrize("away_first", [True, False])
async def test_what_the_store_said_holds_while_it_is_away(
    tmp_path: Path, host: type[HostTime], namespace: str, away_first: bool
) -> None:
    valkey = OwnValkey(tmp_path)
    valkey.start()
    known = RedisStore(valkey.url, namespace, StoreSettings())
    clock = SteadyClock(trusts_host=False, wall=lambda: host.now(UTC))
    try:
        async with InternalScheduler(Fired(), clock) as scheduler:
            duty = HostClock(known, scheduler)
            await duty.step()
            if away_first:
                valkey.kill()
            host.shift = DAY
            with pytest.raises(ClockDiffers):
                await duty.step()
            valkey.kill()
            with pytest.raises(ClockDiffers):
                await duty.step()
            assert abs(clock.now() - now()) < timedelta(minutes=1)
            host.shift = timedelta(0)
            await duty.step()
            assert clock.ahead == timedelta(0), "the host's clock is right again"
    finally:
        valkey.kill()
        await known.close()


async def test_a_machine_that_slept_knows_it_without_the_store(
    store: RedisStore, host: type[HostTime], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SteadyClock(trusts_host=False, wall=lambda: host.now(UTC))
    async with InternalScheduler(Fired(), clock) as scheduler:
        duty = HostClock(store, scheduler)
        await duty.step()
        host.shift = DAY
        monkeypatch.setattr("horae.apscheduler.host_clock.asleep", lambda: asleep() + DAY.total_seconds())

        async def away() -> datetime:
            raise StoreUnavailable("away")

        monkeypatch.setattr(store, "now", away)
        await duty.step()
        assert abs(clock.now() - host.now(UTC)) < timedelta(seconds=5)


async def test_a_year_ahead_makes_few_instants(host: type[HostTime]) -> None:
    """Without anybody to ask, as in a script."""
    fired = Fired()
    async with InternalScheduler(fired, SteadyClock(wall=lambda: host.now(UTC))) as scheduler:
        scheduler.add(Job(name="beat", tier=Tier.APSCHEDULER, schedule=every("1s")))
        host.shift = timedelta(days=365)
        await wait_until(lambda: fired.count["beat"] >= 3, "beats in another year")
    assert fired.together <= 2
