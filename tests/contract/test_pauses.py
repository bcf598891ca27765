"""A paused job still fires and can be enqueued; at the claim its runs wait, or are skipped by their policy."""

from datetime import timedelta

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.reasons import Reason
from horae.runs import Cause, State, Verdict
from horae.store import Store
from horae.store.limits import STEP
from horae.store.values import Answer
from tests.contract.stores import (
    LEASE,
    NONE,
    PROVIDERS,
    T0,
    claim,
    fire,
    fire_at,
    handed_out,
    new,
    send,
    settle,
    state,
    taken,
    verdict_of,
    wants,
)

SECOND = timedelta(seconds=1)


async def test_what_is_paused_is_told(store: Store) -> None:
    assert await store.pauses.paused() == frozenset()
    await store.pauses.pause("backup")
    await store.pauses.pause("backup")
    await store.pauses.pause()
    assert await store.pauses.paused() == {"backup", None}
    await store.pauses.resume("backup")
    assert await store.pauses.paused() == {None}
    await store.pauses.resume()
    assert await store.pauses.paused() == frozenset()


async def test_a_run_of_a_paused_job_waits_until_it_is_resumed(store: Store) -> None:
    await store.pauses.pause("backup")
    one, other = await send(store, new("backup"), new("report"))
    answer = await claim(store, one)
    assert (answer.answer, answer.reason) == (Answer.LATER, "paused")
    assert (await claim(store, other)).answer is Answer.RUN
    assert (await state(store, one.run_id)).state is State.PENDING
    assert await taken(store) == []
    assert await store.pauses.resume("backup") == 1
    [again] = await handed_out(store)
    assert (again.run_id, (await claim(store, again)).answer) == (one.run_id, Answer.RUN)


async def test_everything_goes_on_only_where_no_job_is_paused_by_name(store: Store) -> None:
    await store.pauses.pause()
    await store.pauses.pause("backup")
    messages = await send(store, new("backup"), new("report"))
    assert {(await claim(store, message)).reason for message in messages} == {"paused"}
    assert await store.pauses.resume() == 1
    assert [message.job for message in await taken(store)] == ["report"]
    assert await store.pauses.resume("backup") == 1
    assert [message.job for message in await taken(store)] == ["backup"]


async def test_a_job_resumed_by_name_waits_while_everything_is_paused(store: Store) -> None:
    await store.pauses.pause()
    await store.pauses.pause("backup")
    [message] = await send(store, new())
    await claim(store, message)
    assert await store.pauses.resume("backup") == 0
    assert await taken(store) == []
    assert await store.pauses.resume() == 1


async def test_what_runs_is_left_alone(store: Store) -> None:
    [message] = await send(store, new())
    held = await claim(store, message)
    await store.pauses.pause("backup")
    assert await settle(store, held)


async def test_resume_hands_out_no_more_than_may_run(store: Store) -> None:
    await store.pauses.pause("backup")
    for message in await send(store, *(new() for _ in range(3))):
        await claim(store, message, overlap=Overlap.QUEUE)
    assert await store.pauses.resume("backup") == 1
    for _ in range(3):
        [again] = await handed_out(store)
        await settle(store, await claim(store, again, overlap=Overlap.QUEUE))
    assert await taken(store) == []


async def test_resume_hands_out_all_where_any_number_may_run(store: Store) -> None:
    await store.pauses.pause("backup")
    for message in await send(store, *(new() for _ in range(3))):
        await claim(store, message)
    assert await store.pauses.resume("backup") == 3


async def test_what_ends_during_a_pause_releases_nothing_and_forgets_nothing(store: Store) -> None:
    first, second = await send(store, new(), new())
    held = await claim(store, first, overlap=Overlap.QUEUE)
    assert (await claim(store, second, overlap=Overlap.QUEUE)).reason == "overlap"
    await store.pauses.pause()
    await settle(store, held)
    assert await taken(store) == []
    assert await store.pauses.resume() == 1
    assert [message.run_id for message in await taken(store)] == [second.run_id]


async def test_a_retry_that_comes_up_during_a_pause_waits_and_goes_on(store: Store) -> None:
    [message] = await send(store, new())
    await settle(store, await claim(store, message, overlap=Overlap.SKIP), None, retry_after=NONE)
    [again] = await handed_out(store)
    await store.pauses.pause("backup")
    assert (await claim(store, again, overlap=Overlap.SKIP)).reason == "paused"
    assert await store.pauses.resume("backup") == 1, "it does not wait for itself"
    [released] = await handed_out(store)
    assert (await claim(store, released, overlap=Overlap.SKIP)).answer is Answer.RUN


async def test_a_fire_is_skipped_where_nothing_is_caught_up(store: Store) -> None:
    await store.pauses.pause("backup")
    due, asked = await send(store, fire(0), new())
    answer = await claim(store, due, catch_up=CatchUp.NONE)
    # By the real clock the fire may be over a minute late; with catch_up="none" it is then `missed`.
    assert answer.answer is Answer.SETTLED
    assert (await state(store, due.run_id)).verdict in (Verdict.SKIPPED, Verdict.MISSED)
    assert (await claim(store, asked, catch_up=CatchUp.NONE)).reason == "paused"


async def test_a_fresh_fire_is_skipped_as_paused(steered: Store) -> None:
    await steered.pauses.pause("backup")
    [due] = await send(steered, fire(0))
    await claim(steered, due, catch_up=CatchUp.NONE)
    assert await verdict_of(steered, due.run_id) == (Verdict.SKIPPED, "paused")


async def test_under_latest_only_the_newest_fire_waits(steered: Store) -> None:
    await steered.pauses.pause("backup")
    messages = await send(steered, fire(-2), fire(-1), fire(0))
    for message in messages:
        await claim(steered, message, catch_up=CatchUp.LATEST)
    assert await steered.pauses.resume("backup") == 1
    assert [message.run_id for message in await taken(steered)] == [messages[-1].run_id]


async def test_an_internal_fire_is_skipped_and_a_run_asked_for_goes_on(store: Store) -> None:
    await store.pauses.pause("beat")
    due = new("beat", tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE, scheduled_for=T0)
    asked = new("beat", tier=Tier.APSCHEDULER, cause=Cause.MANUAL)
    answer = await store.claims.begin(due, Overlap.SKIP, "s1", LEASE)
    assert (answer.answer, answer.reason) == (Answer.SETTLED, "skipped: paused")
    assert (await store.claims.begin(asked, Overlap.SKIP, "s1", LEASE)).answer is Answer.RUN


async def test_what_waits_can_be_cancelled(store: Store) -> None:
    await store.pauses.pause("backup")
    [message] = await send(store, new())
    await claim(store, message)
    await store.claims.cancel(message.run_id)
    assert await store.pauses.resume("backup") == 0


async def test_more_runs_than_one_step_hands_out_go_on(steered: Store) -> None:
    await steered.pauses.pause("backup")
    runs = [fire(-minute) for minute in range(STEP + 10, 0, -1)]
    await steered.outbox.accept(runs)
    await steered.claims.claim([wants(run.message) for run in runs], "w1", LEASE)
    assert await steered.pauses.resume("backup") == len(runs)
    assert (await steered.ledger.figures()).waiting == 0
    assert (await steered.outbox.take(PROVIDERS, 1000, LEASE)).next_in == LEASE
    assert await steered.pauses.resume("backup") == 0


async def test_more_fires_than_one_step_settles_give_way(steered: Store) -> None:
    await steered.pauses.pause("backup")
    *older, newest = [fire(minute - STEP - 11) for minute in range(STEP + 11)]
    await steered.outbox.accept([*older, newest])
    await steered.claims.claim([wants(run.message) for run in older], "w1", LEASE)
    answer = await claim(steered, newest.message, catch_up=CatchUp.LATEST)
    assert (answer.answer, answer.reason) == (Answer.LATER, "paused")
    rows = await steered.ledger.many([run.run_id for run in older])
    assert {(row.verdict, row.reason) for row in rows} == {(Verdict.MISSED, Reason.SUPERSEDED)}
    assert await steered.pauses.resume("backup") == 1


async def test_a_cancelled_fire_supersedes_nothing_that_waits_later(steered: Store) -> None:
    await steered.pauses.pause("backup")
    old, newest = await send(steered, fire_at(T0 - 2 * SECOND), fire_at(T0 - SECOND))
    await claim(steered, newest, catch_up=CatchUp.LATEST)
    await steered.claims.cancel(newest.run_id)
    assert (await claim(steered, old, catch_up=CatchUp.LATEST)).answer is Answer.LATER
    assert await steered.pauses.resume("backup") == 1
    assert [message.run_id for message in await taken(steered)] == [old.run_id]
