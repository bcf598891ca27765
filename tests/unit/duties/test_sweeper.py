"""When the sweeper takes runs away from workers, and when it gives live workers time first."""

from datetime import UTC, datetime, timedelta

import pytest

from horae.duties import sweeper as room
from horae.duties.sweeper import SPARE_SECONDS, Sweeper
from horae.errors import StoreUnavailable
from horae.metrics.process import Metrics
from horae.runs import State
from tests.contract.stores import claim, new, send, state
from tests.model import ModelStore

LEASE = timedelta(seconds=6)


class Clock:
    """The store's clock and the monotonic one, moved together by hand."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> datetime:
        return datetime(2026, 3, 4, 12, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(room, "monotonic", found.monotonic)
    return found


async def test_a_run_whose_lease_ran_out_goes_to_another_worker(clock: Clock) -> None:
    store = ModelStore(clock=clock)
    [message] = await send(store, new())
    await claim(store, message)
    sweeper = Sweeper(store, Metrics(), LEASE)
    await sweeper.step()
    assert (await state(store, message.run_id)).state is State.RUNNING
    clock.passed += 3600
    await sweeper.step()
    assert (await state(store, message.run_id)).state is State.PENDING


async def test_when_the_store_is_back_live_workers_renew_first(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(clock=clock)
    [message] = await send(store, new())
    await claim(store, message)
    sweeper = Sweeper(store, Metrics(), LEASE)

    async def away(limit: int) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store.claims, "sweep", away)
        with pytest.raises(StoreUnavailable):
            await sweeper.step()
    clock.passed += 3600
    await sweeper.step()
    first_word = LEASE.total_seconds() / 3 + SPARE_SECONDS
    clock.passed += first_word - 0.1
    await sweeper.step()
    assert (await state(store, message.run_id)).state is State.RUNNING
    clock.passed += 0.1
    await sweeper.step()
    assert (await state(store, message.run_id)).state is State.PENDING
