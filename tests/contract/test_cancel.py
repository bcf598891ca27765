"""Cancel a run: a waiting run at once, a running one through its worker; a settled run does not change."""

import pytest

from horae.jobs.policies import Overlap
from horae.reasons import Reason
from horae.runs import State, Verdict
from horae.store import Store
from horae.store.values import Answer, Cancelled, Stop
from tests.contract.stores import LEASE, NONE, claim, handed_out, new, next_in, send, settle, state, taken, verdict_of

REQUESTED = (Verdict.CANCELLED, "requested")


async def test_what_is_in_the_outbox_never_comes_out(store: Store) -> None:
    run = new(due=await store.now() + LEASE)
    await store.outbox.accept([run])
    assert await store.claims.cancel(run.run_id) is Cancelled.CANCELLED
    assert await verdict_of(store, run.run_id) == REQUESTED
    assert await next_in(store) is None


async def test_what_is_at_the_broker_is_a_duplicate_when_it_comes(store: Store) -> None:
    [message] = await send(store, new())
    assert await store.claims.cancel(message.run_id) is Cancelled.CANCELLED
    assert (await claim(store, message)).answer is Answer.DUPLICATE
    assert await verdict_of(store, message.run_id) == REQUESTED


async def test_what_waits_for_a_retry_leaves_room_for_another(store: Store) -> None:
    first, second = await send(store, new(), new())
    await settle(store, await claim(store, first, overlap=Overlap.QUEUE), None, retry_after=LEASE)
    assert (await claim(store, second, overlap=Overlap.QUEUE)).answer is Answer.LATER
    assert (await state(store, first.run_id)).state is State.RETRYING
    assert await store.claims.cancel(first.run_id) is Cancelled.CANCELLED
    [again] = await handed_out(store)
    assert (await claim(store, again, overlap=Overlap.QUEUE)).answer is Answer.RUN
    assert again.run_id == second.run_id


async def test_what_waits_for_another_run_waits_no_more(store: Store) -> None:
    first, second, third = await send(store, new(), new(), new())
    held = await claim(store, first, overlap=Overlap.QUEUE)
    for message in (second, third):
        await claim(store, message, overlap=Overlap.QUEUE)
    assert await store.claims.cancel(second.run_id) is Cancelled.CANCELLED
    await settle(store, held)
    assert [message.run_id for message in await taken(store)] == [third.run_id]


async def test_what_runs_is_asked_through_its_lease(store: Store) -> None:
    [message] = await send(store, new())
    held = await claim(store, message)
    assert await store.claims.cancel(message.run_id) is Cancelled.ASKED
    assert (await state(store, message.run_id)).state is State.RUNNING
    assert store.claims.renew([held], LEASE) == [Stop.REQUESTED]
    assert await settle(store, held, Verdict.CANCELLED, reason=Reason.REQUESTED)


async def test_a_worker_that_has_not_heard_may_end_otherwise(store: Store) -> None:
    [message] = await send(store, new())
    held = await claim(store, message)
    await store.claims.cancel(message.run_id)
    assert await settle(store, held, Verdict.RAN)
    assert await verdict_of(store, message.run_id) == (Verdict.RAN, None)


@pytest.mark.parametrize(
    "ending", [{"reason": Reason.DRAINING}, {"retry_after": NONE}, {"died": True, "retry_after": NONE}]
)
async def test_a_wish_outlives_the_claim_that_never_heard_of_it(store: Store, ending: dict[str, object]) -> None:
    [message] = await send(store, new())
    held = await claim(store, message)
    await store.claims.cancel(message.run_id)
    assert await settle(store, held, None, **ending)
    assert await verdict_of(store, message.run_id) == REQUESTED
    assert await next_in(store) is None


async def test_a_wish_outlives_the_worker(store: Store) -> None:
    [message] = await send(store, new())
    await claim(store, message, lease=NONE)
    await store.claims.cancel(message.run_id)
    [lapsed] = await store.claims.sweep(10)
    assert lapsed.verdict is Verdict.CANCELLED
    assert await verdict_of(store, message.run_id) == REQUESTED


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_what_is_settled_stays_so(store: Store, verdict: Verdict) -> None:
    [message] = await send(store, new())
    await settle(store, await claim(store, message), verdict, reason=Reason.OTHER, note="as it was")
    assert await store.claims.cancel(message.run_id) is Cancelled.SETTLED
    assert await verdict_of(store, message.run_id) == (verdict, Reason.OTHER)


async def test_twice_is_once(store: Store) -> None:
    [message] = await send(store, new())
    answers = [await store.claims.cancel(message.run_id) for _ in range(2)]
    assert answers == [Cancelled.CANCELLED, Cancelled.SETTLED]
    assert dict((await store.ledger.figures()).settled) == {("backup", Verdict.CANCELLED): 1}


async def test_what_nobody_knows(store: Store) -> None:
    assert await store.claims.cancel("no-such-run") is Cancelled.UNKNOWN
    assert await store.ledger.run("no-such-run") is None


async def test_a_wish_to_cancel_outlives_the_attempt_that_did_not_hear_of_it(store: Store) -> None:
    retried, handed_back, lapsed = [await claim(store, message) for message in await send(store, new(), new(), new())]
    for held in (retried, handed_back, lapsed):
        assert await store.claims.cancel(held.message.run_id) is Cancelled.ASKED
    assert await settle(store, retried, None, retry_after=NONE, reason=Reason.RAISED)
    assert await settle(store, handed_back, None, reason=Reason.DRAINING)
    assert store.claims.renew([lapsed], NONE) == [Stop.REQUESTED]
    [swept] = await store.claims.sweep(10)
    assert swept.verdict is Verdict.CANCELLED
    for held in (retried, handed_back, lapsed):
        row = await state(store, held.message.run_id)
        assert (row.verdict, row.reason) == (Verdict.CANCELLED, "requested")
    assert await next_in(store) is None
