"""A claim holds while its lease is renewed. If its worker dies, the run is handed out again."""

from horae.jobs.policies import Overlap, Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Cause, Failure, Verdict
from horae.store import Store
from horae.store.values import Answer, Claim, Settlement, Stop
from tests.contract.stores import (
    LEASE,
    MILLI,
    NONE,
    Clock,
    claim,
    handed_out,
    new,
    send,
    settle,
    state,
    taken,
)


class TestLease:
    async def test_a_renewed_lease_is_kept(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        assert store.claims.renew([held], LEASE) == [None]
        assert await store.claims.sweep(10) == []

    async def test_a_lapsed_lease_hands_the_run_out_again_and_voids_the_old_claim(self, store: Store) -> None:
        [message] = await send(store, new())
        stale = await claim(store, message, "dead", lease=NONE)
        [lapsed] = await store.claims.sweep(10)
        assert (lapsed.run_id, lapsed.worker, lapsed.verdict) == (message.run_id, "dead", None)
        [again] = await taken(store)
        fresh = await claim(store, again, "alive")
        assert fresh.answer is Answer.RUN
        assert fresh.token > stale.token
        assert not await settle(store, stale)
        assert store.claims.renew([stale, fresh], LEASE) == [Stop.LEASE_LOST, None]
        assert await settle(store, fresh)

    async def test_a_run_with_which_ten_workers_died_fails(self, store: Store) -> None:
        messages = await send(store, new())
        for life in range(10):
            held = await claim(store, messages[0], lease=NONE)
            assert held.alone is (life > 0), "a suspect runs alone"
            lapsed = await store.claims.sweep(10)
            messages = await taken(store)
        assert lapsed[0].verdict is Verdict.FAILED
        assert (await store.dead_letters.newest())[0].reason == "worker died"

    async def test_a_run_that_kills_its_process_three_times_fails(self, store: Store) -> None:
        messages = await send(store, new())
        failure = Failure(type="ChildDied", message="was killed by SIGSEGV")
        for death in range(3):
            held = await claim(store, messages[0])
            assert (held.alone, held.failures) == (death > 0, 0)
            assert await settle(store, held, None, died=True, retry_after=NONE, failure=failure)
            messages = await taken(store)
        row = await state(store, held.message.run_id)
        assert (row.verdict, row.reason, row.note) == (Verdict.FAILED, Reason.KILLED_ITS_PROCESS, "3")
        assert row.failure == failure

    async def test_progress_is_kept_for_the_holder_of_the_claim_alone(self, store: Store) -> None:
        [message] = await send(store, new())
        stale = await claim(store, message, lease=NONE)
        await store.claims.report(stale, "half way")
        assert (await state(store, message.run_id)).progress == "half way"
        await store.claims.sweep(10)
        await store.claims.report(stale, "nearly there")
        assert (await state(store, message.run_id)).progress == "half way"
        unknown = Claim(message=Message(job="backup"), answer=Answer.RUN)
        await store.claims.report(unknown, "of nothing")
        assert await store.ledger.run(unknown.message.run_id) is None

    async def test_an_internal_run_is_lost_with_its_sidecar(self, store: Store) -> None:
        run = new(tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE)
        assert (await store.claims.begin(run, Overlap.SKIP, "s1", NONE)).answer is Answer.RUN
        [lapsed] = await store.claims.sweep(10)
        assert lapsed.verdict is Verdict.FAILED
        assert await store.dead_letters.newest() == []


class TestTheEndOfALease:
    async def test_it_runs_out_at_its_instant_and_not_before(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new())
        held = await claim(steered, message)
        clock.move(LEASE - MILLI)
        assert await steered.claims.sweep(10) == []
        assert steered.claims.renew([held], LEASE) == [None]
        clock.move(LEASE - MILLI)
        assert await steered.claims.sweep(10) == []
        clock.move(MILLI)
        assert [one.run_id for one in await steered.claims.sweep(10)] == [message.run_id]

    async def test_the_longest_dead_are_swept_first(self, steered: Store, clock: Clock) -> None:
        runs = []
        for _ in range(3):
            [message] = await send(steered, new())
            await claim(steered, message)
            runs.append(message.run_id)
            clock.move(MILLI)
        clock.move(LEASE)
        assert [one.run_id for one in await steered.claims.sweep(2)] == runs[:2]
        assert [one.run_id for one in await steered.claims.sweep(2)] == runs[2:]

    async def test_a_lapse_before_the_sweep_may_still_be_settled(self, steered: Store, clock: Clock) -> None:
        """No other worker has the run yet, so settling it late is allowed."""
        [message] = await send(steered, new())
        held = await claim(steered, message)
        clock.move(2 * LEASE)
        assert await settle(steered, held)
        assert await steered.claims.sweep(10) == []

    async def test_a_retry_voids_the_claim(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        await settle(store, held, None, retry_after=NONE)
        assert store.claims.renew([held], LEASE) == [Stop.LEASE_LOST]
        assert not await settle(store, held)

    async def test_no_progress_after_the_verdict(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        await store.claims.report(held, "half way")
        await settle(store, held)
        await store.claims.report(held, "too late")
        assert (await state(store, message.run_id)).progress == "half way"

    async def test_what_died_needs_no_rest(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, died=True, reason=Reason.PROCESS_DIED)
        [again] = await handed_out(store)
        assert (await claim(store, again)).alone

    async def test_deaths_of_process_and_worker_are_counted_apart(self, store: Store) -> None:
        messages = await send(store, new())
        for _ in range(2):
            await settle(store, await claim(store, messages[0]), None, died=True, retry_after=NONE)
            messages = await handed_out(store)
        await claim(store, messages[0], lease=NONE)
        [lapsed] = await store.claims.sweep(10)
        assert lapsed.verdict is None

    async def test_one_batch_settles_what_is_valid(self, store: Store) -> None:
        first, second = await send(store, new(), new())
        stale = await claim(store, first, lease=NONE)
        await store.claims.sweep(10)
        good = await claim(store, second)
        ended = [Settlement(claim=one, verdict=Verdict.RAN) for one in (stale, good, good)]
        assert await store.claims.settle(ended) == [False, True, False]
