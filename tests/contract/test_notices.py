"""Notices of missed, failed and late fires. Each notice is handed out once."""

from datetime import timedelta

import pytest

from horae.jobs.policies import CatchUp, Tier
from horae.reasons import Reason, worded
from horae.runs import Cause, Run, State, Verdict, new_run_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import Happening, Notice
from tests.contract.stores import MILLI, T0, Clock, claim, fire, handed_out, new, run_through, send, settle

LATE = timedelta(seconds=60)


async def told(store: Store, limit: int = 100) -> list[tuple[Happening, str, str]]:
    return [(one.what, one.job, worded(one.reason, one.note)) for one in await store.notices.take(limit)]


async def test_a_failed_run_is_told_once(steered: Store) -> None:
    run = fire(0)
    await run_through(steered, run, Verdict.FAILED, reason=Reason.RAISED)
    assert await steered.notices.take(10) == [
        Notice(what=Happening.FAILED, run_id=run.run_id, job="backup", at=T0, scheduled_for=T0, reason=Reason.RAISED)
    ]
    assert await steered.notices.take(10) == []


async def test_a_missed_fire_is_told(steered: Store, clock: Clock) -> None:
    [message] = await send(steered, fire(0))
    clock.move(2 * LATE)
    await claim(steered, message, catch_up=CatchUp.NONE)
    assert await told(steered) == [(Happening.MISSED, "backup", "not caught up")]


@pytest.mark.parametrize("verdict", [Verdict.RAN, Verdict.SKIPPED, Verdict.CANCELLED])
async def test_nothing_is_told_of_the_rest(store: Store, verdict: Verdict) -> None:
    await run_through(store, new(), verdict)
    assert await store.notices.take(10) == []


async def test_a_fire_that_begins_late_is_told_with_how_late(steered: Store, clock: Clock) -> None:
    in_time, late = await send(steered, fire(0), fire(0, job="report"))
    clock.move(LATE)
    await settle(steered, await claim(steered, in_time))
    assert await told(steered) == []
    clock.move(timedelta(seconds=1) - MILLI)
    await claim(steered, late)
    assert await told(steered) == [(Happening.LATE, "report", "60 s late")]


@pytest.mark.parametrize("store_settings", [StoreSettings(late_after_seconds=0.5)])
async def test_what_late_means_is_a_setting(steered: Store, clock: Clock) -> None:
    [message] = await send(steered, fire(0))
    clock.move(timedelta(seconds=0.501))
    await claim(steered, message)
    assert await told(steered) == [(Happening.LATE, "backup", "0 s late")]


async def test_only_the_first_attempt_of_a_fire_can_be_late(steered: Store, clock: Clock) -> None:
    due, asked = await send(steered, fire(0), new("report"))
    held = await claim(steered, due)
    clock.move(2 * LATE)
    await settle(steered, held, None, reason=Reason.DRAINING)
    [again] = await handed_out(steered)
    await claim(steered, again)
    await claim(steered, asked)
    assert await told(steered) == []


async def test_the_oldest_come_first_and_what_is_put_back_before_all(store: Store) -> None:
    jobs = ["a", "b", "c", "d"]
    for job in jobs:
        await run_through(store, new(job), Verdict.FAILED)
    first = await store.notices.take(2)
    assert [one.job for one in first] == ["a", "b"]
    await store.notices.put_back(first)
    assert [job for _, job, _ in await told(store, 3)] == ["a", "b", "c"]
    assert [job for _, job, _ in await told(store)] == ["d"]


async def test_nothing_asked_for_or_put_back_is_nothing(store: Store) -> None:
    await run_through(store, new(), Verdict.FAILED)
    assert await store.notices.take(0) == []
    await store.notices.put_back([])
    assert len(await store.notices.take(10)) == 1


async def test_what_is_put_back_is_the_same(steered: Store) -> None:
    await run_through(steered, fire(0), Verdict.FAILED, reason=Reason.RAISED, note="é\n\u2028")
    await steered.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
    taken = await steered.notices.take(10)
    await steered.notices.put_back(taken)
    assert await steered.notices.take(10) == taken
    assert [one.scheduled_for for one in taken] == [T0, None]


async def test_what_another_scheduler_failed_is_told(store: Store) -> None:
    run = Run(
        run_id=new_run_id(), job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.FAILED, scheduled_for=T0,
        reason=Reason.CRASHED,
    )  # fmt: skip
    await store.ledger.record([run])
    await store.ledger.record([run])
    assert await told(store) == [(Happening.FAILED, "sweep", "crashed")]
