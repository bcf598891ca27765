"""When a guardian renews, and when it has had enough of its worker."""

import json
from collections.abc import Sequence
from datetime import timedelta

import pytest

from horae.errors import StoreUnavailable
from horae.execution import watch as room
from horae.execution.channel import encoded
from horae.execution.watch import RETRY_SECONDS, Watch
from horae.store.values import Claim, Stop

LEASE = timedelta(seconds=6)


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


class Renewals:
    """What was renewed, and the answers to it."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.answers: dict[int, Stop] = {}
        self.away = False

    def __call__(self, claims: Sequence[Claim], lease: timedelta) -> list[Stop | None]:
        if self.away:
            raise StoreUnavailable
        self.asked.append([claim.token for claim in claims])
        return [self.answers.get(claim.token) for claim in claims]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(room, "monotonic", found)
    return found


@pytest.fixture
def renewals() -> Renewals:
    return Renewals()


@pytest.fixture
def watch(clock: Clock, renewals: Renewals) -> Watch:
    return Watch(renewals, LEASE)


def hold(watch: Watch, token: int, limit: float | None = None) -> None:
    watch.hear(encoded({"hold": [[f"r{token}", token, limit]], "drop": []}))


def test_what_is_held_is_renewed_every_third_of_the_lease(watch: Watch, clock: Clock, renewals: Renewals) -> None:
    hold(watch, 1)
    hold(watch, 2)
    assert list(watch.renewed()) == []
    assert watch.wait(10) == pytest.approx(2)
    clock.at += 2
    watch.hear(encoded({"hold": [], "drop": [1]}))
    assert list(watch.renewed()) == []
    assert list(watch.renewed()) == []
    assert renewals.asked == [[2]]


def test_the_worker_is_told_of_what_has_to_end(watch: Watch, clock: Clock, renewals: Renewals) -> None:
    hold(watch, 1)
    hold(watch, 2)
    renewals.answers = {1: Stop.LEASE_LOST, 2: Stop.REQUESTED}
    clock.at += 2
    assert [json.loads(answer) for answer in watch.renewed()] == [{"stop": [[1, "lease lost"], [2, "requested"]]}]
    clock.at += 2
    list(watch.renewed())
    assert renewals.asked == [[1, 2], [2]], "what is lost is not asked for again"


def test_nothing_is_renewed_for_a_stopped_worker(watch: Watch, clock: Clock, renewals: Renewals) -> None:
    hold(watch, 1)
    watch.stopped = True
    clock.at += 2
    assert list(watch.renewed()) == []
    watch.stopped = False
    clock.at += 2
    assert list(watch.renewed()) == []
    assert renewals.asked == [[1]]


def test_a_store_that_is_away_is_asked_again(watch: Watch, clock: Clock, renewals: Renewals) -> None:
    hold(watch, 1)
    renewals.away = True
    clock.at += 2
    assert list(watch.renewed()) == []
    renewals.away = False
    assert watch.wait(10) == pytest.approx(RETRY_SECONDS), "sooner than a third of the lease"
    clock.at += RETRY_SECONDS
    assert list(watch.renewed()) == []
    assert renewals.asked == [[1]]
    assert watch.wait(10) == pytest.approx(2)


@pytest.mark.parametrize(("limit", "seconds"), [(None, 60), (20, 25), (1, 6), (100, 105)])
def test_a_blocked_event_loop_has_the_time_of_its_run(
    watch: Watch, clock: Clock, limit: float | None, seconds: float
) -> None:
    hold(watch, 1, limit)
    clock.at += seconds
    assert watch.why_stuck() == ""
    clock.at += 0.1
    assert "r1" in watch.why_stuck()


def test_an_event_loop_that_moves_enforces_the_limits_itself(watch: Watch, clock: Clock) -> None:
    hold(watch, 1, 1)
    clock.at += 100
    watch.hear(encoded({"hold": [], "drop": []}))
    clock.at += 5
    assert watch.why_stuck() == ""
    clock.at += 0.1
    assert watch.why_stuck()


def test_a_worker_that_holds_nothing_may_be_silent(watch: Watch, clock: Clock) -> None:
    hold(watch, 1)
    watch.hear(encoded({"hold": [], "drop": [1]}))
    clock.at += 1000
    assert watch.why_stuck() == ""
