"""Which fires run and which are missed, and that each is written once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from horae.duties.dispatcher import FIRES_A_STEP, JOBS_A_STEP, Dispatcher, judged
from horae.errors import StoreUnavailable
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Tier
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.queues.opened import open_queues
from horae.reasons import Reason
from horae.runs import Verdict
from horae.schedules.kinds import Schedule
from horae.schedules.making import cron, every
from horae.settings import Settings, StoreSettings
from horae.store.cursors import DueJobs
from tests.model import ModelStore

NOWHERE = Settings(store=StoreSettings(url=SecretStr("redis://127.0.0.1:1/0")))
"""Routing chooses a provider and connects to none."""

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Clock:
    """The store's clock, moved by hand."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


def job(schedule: Schedule | None = None, **fields: object) -> Job:
    return Job(name="backup", tier=Tier.ONEIRIC, schedule=schedule or every("1h"), **fields)  # type: ignore[arg-type]


def dispatcher(store: ModelStore, *jobs: Job, revision: int = 1) -> Dispatcher:
    registry = Registry()
    for one in jobs:
        registry.add(one)
    return Dispatcher(store, registry, open_queues(NOWHERE).router, Metrics(), revision)


async def fires(store: ModelStore) -> list[tuple[int, Reason | None]]:
    """(hour, reason or None) of every fire, oldest first."""
    runs = await store.ledger.runs(limit=10_000)
    return [(run.scheduled_for.hour, run.reason) for run in reversed(runs) if run.scheduled_for]


async def test_a_fire_is_written_when_it_is_due_and_not_before() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job())
    assert await duty.step() <= 0.5
    clock.at = NOON + HOUR - timedelta(milliseconds=1)
    await duty.step()
    assert await fires(store) == []
    clock.at = NOON + HOUR
    await duty.step()
    assert await fires(store) == [(13, None)]
    assert len((await store.outbox.take(["redis"], 10, HOUR)).entries) == 1


async def test_a_job_whose_provider_is_not_configured_waits_for_it_and_holds_up_no_other() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    elsewhere = Job(name="elsewhere", tier=Tier.ONEIRIC, schedule=every("1h"), provider="pigeon")
    duty = dispatcher(store, job(), elsewhere)
    await duty.step()
    clock.at = NOON + HOUR
    await duty.step()
    assert {(run.job, run.provider) for run in await store.ledger.runs()} == {
        ("backup", "redis"),
        ("elsewhere", "pigeon"),
    }
    assert [len((await store.outbox.take([name], 10, HOUR)).entries) for name in ("redis", "pigeon")] == [1, 1]


async def test_several_sidecars_write_each_fire_once() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duties = [dispatcher(store, job()) for _ in range(3)]
    for minutes in range(0, 300, 7):
        clock.at = NOON + timedelta(minutes=minutes)
        for duty in duties:
            await duty.step()
    assert await fires(store) == [(hour, None) for hour in (13, 14, 15, 16)]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (CatchUp.LATEST, [(13, "superseded"), (14, "superseded"), (15, None)]),
        (CatchUp.ALL, [(13, None), (14, None), (15, None)]),
        (CatchUp.NONE, [(13, "not caught up"), (14, "not caught up"), (15, "not caught up")]),
    ],
)
async def test_what_fell_due_while_all_were_down_is_caught_up_by_policy(
    policy: CatchUp, expected: list[tuple[int, Reason | None]]
) -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job(catch_up=policy))
    await duty.step()
    clock.at = NOON + 3.5 * HOUR
    await duty.step()
    assert await fires(store) == expected
    missed = [run for run in await store.ledger.runs() if run.verdict is Verdict.MISSED]
    assert len(missed) == sum(bool(reason) for _, reason in expected)


async def test_what_is_older_than_the_window_is_missed() -> None:
    due = [NOON - 2 * HOUR, NOON - HOUR, NOON]
    of_window = job(catch_up=CatchUp.ALL, catch_up_window=HOUR)
    assert [reason for _, reason in judged(of_window, due, NOON, more_follow=False)] == ["too late", None, None]


@pytest.mark.parametrize("more", [-1, 0, 1, 10])
async def test_a_long_gap_is_written_in_bounded_steps_and_runs_its_newest_fire(more: int) -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job(every("1m"), catch_up_window=timedelta(days=9)))
    await duty.step()
    clock.at = NOON + timedelta(minutes=FIRES_A_STEP * 2 + more)
    for _ in range(3):
        await duty.step()
    runs = await store.ledger.runs(limit=10_000)
    assert len(runs) == FIRES_A_STEP * 2 + more
    assert [run.scheduled_for for run in runs if run.verdict is None] == [clock.at]


async def test_an_edited_schedule_goes_on_from_now() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    await dispatcher(store, job()).step()
    clock.at = NOON + HOUR / 2
    edited = dispatcher(store, job(cron("15 * * * *")), revision=2)
    await edited.step()
    assert await fires(store) == [], "12:15 was before the edit"
    clock.at = NOON + 1.25 * HOUR
    await edited.step()
    assert await fires(store) == [(13, None)]


async def test_an_older_sidecar_stands_aside() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    old, new = dispatcher(store, job()), dispatcher(store, job(every("4h")), revision=2)
    await old.step()
    await new.step()
    clock.at = NOON + HOUR
    assert await old.step() > 0.1, "it does not spin on what is not its own"
    assert await fires(store) == []


async def test_a_clock_that_steps_back_writes_nothing_twice() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job())
    await duty.step()
    for at in (NOON + HOUR, NOON + 0.5 * HOUR, NOON + HOUR, NOON + 1.5 * HOUR):
        clock.at = at
        await duty.step()
    assert await fires(store) == [(13, None)]


async def test_a_sidecar_that_a_newer_one_replaces_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    older = dispatcher(store, job(every("1h")))
    await older.step()
    await dispatcher(store, job(every("30m")), revision=2).step()
    clock.at = NOON + HOUR
    for _ in range(3):
        await older.step()
    assert [record.message for record in caplog.records] == [
        "this sidecar does not fire backup: another definition is in force"
    ]


async def test_overdue_jobs_of_another_revision_hide_none_of_ours() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    others = [replace(job(every("1h")), name=f"another-{number}") for number in range(JOBS_A_STEP + 5)]
    await dispatcher(store, *others, revision=2).step()
    ours = dispatcher(store, job(every("2h")))
    await ours.step()
    clock.at = NOON + 2 * HOUR
    for _ in range(3):
        await ours.step()
    assert await fires(store) == [(14, None)]


async def test_what_fell_due_before_an_edit_gets_its_verdict_by_the_former_schedule() -> None:
    """Everything was down, and came back with another schedule: the newest fire of the old one runs."""
    clock = Clock()
    store = ModelStore(clock=clock)
    await dispatcher(store, job(every("1h"))).step()
    clock.at = NOON + 3 * HOUR + HOUR / 2
    duty = dispatcher(store, job(cron("0 0 1 1 *")), revision=2)
    await duty.step()
    assert await fires(store) == [(13, "superseded"), (14, "superseded"), (15, None)]
    clock.at = NOON + 5 * HOUR
    await duty.step()
    assert len(await fires(store)) == 3, "by the new schedule nothing is due"


async def test_an_older_revision_ends_nothing() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    await dispatcher(store, job(every("1h")), revision=5).step()
    clock.at = NOON + HOUR
    await dispatcher(store, job(every("10m")), revision=4).step()
    assert await fires(store) == []


@pytest.mark.parametrize("lost", ["schedules", "next"])
async def test_no_fire_is_lost_with_what_the_store_forgot(monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    monkeypatch.setattr("horae.duties.dispatcher.VERIFY_SECONDS", 0.0)
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job())
    await duty.step()
    for _ in range(2):
        getattr(store.cursors.books, lost).clear()
        clock.at += HOUR
        await duty.step()
    assert await fires(store) == [(13, None), (14, None)]


async def test_a_move_record_ends_when_the_code_says_the_same() -> None:
    store = ModelStore()
    for name, provider in (("backup", "redis"), ("elsewhere", "redis"), (None, "redis"), ("gone", "redis")):
        await store.moves.move(provider, name)
    elsewhere = Job(name="elsewhere", tier=Tier.ONEIRIC, schedule=every("1h"), provider="nats")
    await dispatcher(store, job(), elsewhere).step()
    assert set(await store.moves.all()) == {"elsewhere", None, "gone"}
    await dispatcher(store, job(), replace(elsewhere, provider="redis"), revision=2).step()
    assert set(await store.moves.all()) == {"gone"}


async def test_a_sidecar_that_starts_later_writes_the_fires_whose_index_was_lost() -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    await dispatcher(store, job()).step()
    store.cursors.books.next.clear()
    clock.at += HOUR
    await dispatcher(store, job()).step()
    assert await fires(store) == [(13, None)]


async def test_what_a_store_lost_while_it_was_away_gets_its_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job(catch_up=CatchUp.ALL))
    await duty.step()
    store.cursors.books.schedules.clear()
    store.cursors.books.next.clear()
    clock.at += 2 * HOUR

    async def away(limit: int) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(store.cursors, "due", away)
        with pytest.raises(StoreUnavailable):
            await duty.step()
    await duty.step()
    assert await fires(store) == [(13, None), (14, None)]


@pytest.mark.parametrize("started", ["before", "afterwards"])
async def test_fires_that_are_due_and_not_written_outlive_a_lost_schedule(
    monkeypatch: pytest.MonkeyPatch, started: str
) -> None:
    monkeypatch.setattr("horae.duties.dispatcher.VERIFY_SECONDS", 0.0)
    clock = Clock()
    store = ModelStore(clock=clock)
    duty = dispatcher(store, job(catch_up=CatchUp.ALL))
    await duty.step()
    clock.at += 2 * HOUR
    if started == "afterwards":
        duty = dispatcher(store, job(catch_up=CatchUp.ALL))
    due = store.cursors.due

    async def lose(limit: int) -> DueJobs:
        store.cursors.books.schedules.clear()
        store.cursors.books.next.clear()
        return await due(limit)

    with monkeypatch.context() as patch:
        patch.setattr(store.cursors, "due", lose)
        await duty.step()  # it sees the schedule, and the store loses it before the fires are written
    await duty.step()
    assert await fires(store) == [(13, None), (14, None)]
