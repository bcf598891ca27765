"""The overlap policies: which run may run while another run of the job is active."""

from typing import Any, ClassVar

from horae.jobs.policies import CatchUp, Overlap
from horae.reasons import Reason
from horae.runs import Cause, Verdict
from horae.store import Store
from horae.store.values import Answer, Stop
from tests.contract.stores import (
    LEASE,
    MILLI,
    NONE,
    Clock,
    claim,
    fire,
    handed_out,
    new,
    send,
    settle,
    state,
    taken,
    verdict_of,
    wants,
)


class TestOverlap:
    async def test_skip_skips_a_fire(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await claim(store, first, overlap=Overlap.SKIP)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.SETTLED
        row = await state(store, second.run_id)
        assert (row.verdict, row.reason) == (Verdict.SKIPPED, "overlap")

    async def test_skip_lets_what_was_asked_for_wait(self, store: Store) -> None:
        first, second = await send(store, new(), new())
        held = await claim(store, first, overlap=Overlap.SKIP)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.LATER
        assert await taken(store) == []
        await settle(store, held)
        assert [message.run_id for message in await taken(store)] == [second.run_id]

    async def test_a_waiting_fire_gives_way_to_a_newer_one(self, steered: Store) -> None:
        first, second, third = await send(steered, fire(0), fire(1), fire(2))
        await claim(steered, first, overlap=Overlap.QUEUE)
        await claim(steered, second, overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST)
        assert (await claim(steered, third, overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST)).answer is Answer.LATER
        row = await state(steered, second.run_id)
        assert (row.verdict, row.reason) == (Verdict.MISSED, "superseded")

    async def test_cancel_other_reaches_the_worker_with_its_renewal(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        held = await claim(store, first, overlap=Overlap.CANCEL_OTHER)
        assert (await claim(store, second, overlap=Overlap.CANCEL_OTHER)).answer is Answer.LATER
        assert store.claims.renew([held], LEASE) == [Stop.OVERLAP]
        await settle(store, held, Verdict.CANCELLED, reason=Reason.OVERLAP)
        [again] = await taken(store)
        assert (await claim(store, again, overlap=Overlap.CANCEL_OTHER)).answer is Answer.RUN

    async def test_waiting_for_a_retry_counts_as_running(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await settle(store, await claim(store, first, overlap=Overlap.SKIP), None, retry_after=LEASE)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.SETTLED

    async def test_allow_runs_both(self, store: Store) -> None:
        messages = await send(store, fire(0), fire(1))
        assert [(await claim(store, message)).answer for message in messages] == [Answer.RUN, Answer.RUN]


class TestConcurrency:
    BOUND: ClassVar[dict[str, Any]] = {"overlap": Overlap.ALLOW, "concurrency": 2}

    async def test_no_more_run_at_once_over_all_workers(self, store: Store) -> None:
        messages = await send(store, *(new() for _ in range(4)))
        claims = [await claim(store, one, f"w{place}", **self.BOUND) for place, one in enumerate(messages)]
        assert [one.answer for one in claims] == [Answer.RUN, Answer.RUN, Answer.LATER, Answer.LATER]
        await settle(store, claims[1])
        [again] = await handed_out(store)
        assert (await claim(store, again, "w9", **self.BOUND)).answer is Answer.RUN
        await settle(store, claims[0])
        assert len(await handed_out(store)) == 1

    async def test_fires_wait_for_room_too(self, store: Store) -> None:
        messages = await send(store, fire(0), fire(1), fire(2))
        answers = [(await claim(store, one, **self.BOUND)).answer for one in messages]
        assert answers == [Answer.RUN, Answer.RUN, Answer.LATER]

    async def test_a_batch_is_bounded_as_well(self, store: Store) -> None:
        messages = await send(store, new(), new(), new())
        claims = await store.claims.claim([wants(one, **self.BOUND) for one in messages], "w1", LEASE)
        assert sorted(one.answer for one in claims) == [Answer.LATER, Answer.RUN, Answer.RUN]

    async def test_jobs_are_bounded_apart(self, store: Store) -> None:
        one, other = await send(store, new("a"), new("b"))
        policy: dict[str, Any] = {"overlap": Overlap.ALLOW, "concurrency": 1}
        answers = [(await claim(store, message, **policy)).answer for message in (one, other)]
        assert answers == [Answer.RUN, Answer.RUN]

    async def test_a_lower_bound_lets_what_runs_end_and_nothing_wait_for_itself(self, store: Store) -> None:
        """A release lowers the bound while two run and one of them waits for a retry."""
        first, second = await send(store, new(), new())
        held = await claim(store, first, **self.BOUND)
        await settle(store, await claim(store, second, **self.BOUND), None, retry_after=NONE)
        [again] = await handed_out(store)
        assert (await claim(store, again, overlap=Overlap.ALLOW, concurrency=1)).answer is Answer.LATER
        await settle(store, held)
        [released] = await handed_out(store)
        assert (await claim(store, released, overlap=Overlap.ALLOW, concurrency=1)).answer is Answer.RUN


class TestWaiting:
    QUEUE: ClassVar[dict[str, Any]] = {"overlap": Overlap.QUEUE}
    LATEST: ClassVar[dict[str, Any]] = {"overlap": Overlap.QUEUE, "catch_up": CatchUp.LATEST}

    async def test_what_waits_longest_goes_first_and_one_at_a_time(self, steered: Store, clock: Clock) -> None:
        messages = await send(steered, *(new() for _ in range(4)))
        held = await claim(steered, messages[0], **self.QUEUE)
        for message in reversed(messages[1:]):
            clock.move(MILLI)
            assert (await claim(steered, message, **self.QUEUE)).answer is Answer.LATER
        for message in reversed(messages[1:]):
            await settle(steered, held)
            [again] = await handed_out(steered)
            assert again.run_id == message.run_id
            held = await claim(steered, again, **self.QUEUE)

    async def test_a_copy_of_what_waits_is_a_duplicate_and_keeps_its_place(self, steered: Store, clock: Clock) -> None:
        first, second, third = await send(steered, new(), new(), new())
        held = await claim(steered, first, **self.QUEUE)
        for message in (second, third):
            await claim(steered, message, **self.QUEUE)
            clock.move(MILLI)
        assert (await claim(steered, second, **self.QUEUE)).answer is Answer.DUPLICATE
        await settle(steered, held)
        assert [message.run_id for message in await taken(steered)] == [second.run_id]

    async def test_an_older_fire_that_comes_later_gives_way_too(self, steered: Store) -> None:
        first, older, newer = await send(steered, fire(0), fire(1), fire(2))
        await claim(steered, first, **self.LATEST)
        assert (await claim(steered, newer, **self.LATEST)).answer is Answer.LATER
        assert (await claim(steered, older, **self.LATEST)).answer is Answer.SETTLED
        assert await verdict_of(steered, older.run_id) == (Verdict.MISSED, "superseded")

    async def test_what_was_asked_for_gives_way_to_no_fire(self, steered: Store) -> None:
        first, asked, newer = await send(steered, fire(0), new(), fire(2))
        held = await claim(steered, first, **self.LATEST)
        for message in (asked, newer):
            assert (await claim(steered, message, **self.LATEST)).answer is Answer.LATER
        await settle(steered, held)
        assert [message.run_id for message in await taken(steered)] == [asked.run_id]

    async def test_under_all_every_fire_waits(self, store: Store) -> None:
        first, second, third = await send(store, fire(0), fire(1), fire(2))
        await claim(store, first, **self.QUEUE)
        answers = [(await claim(store, one, **self.QUEUE)).answer for one in (second, third)]
        assert answers == [Answer.LATER, Answer.LATER]

    async def test_what_was_begun_gives_way_to_nothing(self, steered: Store) -> None:
        """A worker that drains hands the run back. The run must be finished, even if newer fires are due."""
        first, second = await send(steered, fire(0), fire(1))
        await settle(steered, await claim(steered, first, **self.LATEST), None, reason=Reason.DRAINING)
        assert (await claim(steered, second, **self.LATEST)).answer is Answer.LATER
        [again] = await handed_out(steered)
        held = await claim(steered, again, **self.LATEST)
        assert (held.answer, again.run_id) == (Answer.RUN, first.run_id)

    async def test_a_begun_fire_is_not_skipped(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await claim(store, first, overlap=Overlap.SKIP, lease=NONE)
        await store.claims.sweep(10)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.SETTLED
        [again] = await handed_out(store)
        assert (await claim(store, again, overlap=Overlap.SKIP)).answer is Answer.RUN


class TestCancelOther:
    POLICY: ClassVar[dict[str, Any]] = {"overlap": Overlap.CANCEL_OTHER}

    async def test_what_waits_for_a_retry_is_cancelled_at_once(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await settle(store, await claim(store, first, **self.POLICY), None, retry_after=LEASE)
        assert (await claim(store, second, **self.POLICY)).answer is Answer.RUN
        assert await verdict_of(store, first.run_id) == (Verdict.CANCELLED, "overlap")

    async def test_the_other_does_not_come_back_when_its_worker_dies(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await claim(store, first, lease=NONE, **self.POLICY)
        await claim(store, second, **self.POLICY)
        [lapsed] = await store.claims.sweep(10)
        assert lapsed.verdict is Verdict.CANCELLED
        [again] = await handed_out(store)
        assert again.run_id == second.run_id
        assert (await claim(store, again, **self.POLICY)).answer is Answer.RUN


async def test_under_all_waiting_fires_go_oldest_first_however_often_they_waited(steered: Store, clock: Clock) -> None:
    """A fire that waits again keeps its place before younger ones. Ties are ordered by the instant of the fire."""
    policy: dict[str, Any] = {"overlap": Overlap.QUEUE, "catch_up": CatchUp.ALL}
    messages = await send(steered, *(fire(minute) for minute in (3, 1, 2, 5, 4)))
    holder = await claim(steered, messages[0], **policy)
    for message in messages[1:]:
        assert (await claim(steered, message, **policy)).answer is Answer.LATER
    order = []
    for _ in range(4):
        await settle(steered, holder)
        [next_one] = await handed_out(steered)
        blocker = await steered.claims.begin(new(cause=Cause.MANUAL), Overlap.ALLOW, "w2", LEASE)
        clock.move(MILLI)
        assert (await claim(steered, next_one, **policy)).answer is Answer.LATER, "it waits a second time"
        await settle(steered, blocker)
        [again] = await handed_out(steered)
        holder = await claim(steered, again, **policy)
        assert holder.answer is Answer.RUN
        order.append(again.scheduled_for)
    assert order == sorted(message.scheduled_for for message in messages[1:] if message.scheduled_for)
