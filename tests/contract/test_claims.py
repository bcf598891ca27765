"""Claims: only the worker that holds the claim of a run may run it."""

from dataclasses import replace
from datetime import timedelta

from horae.messages import Message, Priority
from horae.reasons import Reason
from horae.runs import Failure, State, Verdict
from horae.store import Store
from horae.store.values import Answer, Claim
from tests.contract.stores import (
    LEASE,
    MILLI,
    NONE,
    Clock,
    claim,
    handed_out,
    new,
    next_in,
    send,
    settle,
    state,
    taken,
    wants,
)


class TestClaim:
    async def test_only_one_worker_runs_a_run(self, store: Store) -> None:
        [message] = await send(store, new())
        first, second = await claim(store, message, "w1"), await claim(store, message, "w2")
        assert (first.answer, second.answer) == (Answer.RUN, Answer.DUPLICATE)
        row = await state(store, message.run_id)
        assert (row.state, row.worker, row.attempts) == (State.RUNNING, "w1", 1)

    async def test_tokens_grow(self, store: Store) -> None:
        messages = await send(store, new(), new())
        tokens = [(await claim(store, message)).token for message in messages]
        assert 0 < tokens[0] < tokens[1]

    async def test_a_copy_of_a_settled_run_is_a_duplicate(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message))
        assert (await claim(store, message)).answer is Answer.DUPLICATE

    async def test_a_copy_claimed_before_the_relay_forgets_is_not_published_again(self, store: Store) -> None:
        await store.outbox.accept([new()])
        [message] = await taken(store, NONE)
        assert (await claim(store, message)).answer is Answer.RUN
        assert await taken(store, NONE) == []
        await store.outbox.published([message])
        assert (await state(store, message.run_id)).state is State.RUNNING

    async def test_a_message_that_others_published_is_accepted(self, store: Store) -> None:
        message = Message(job="backup", context={"a": 1})
        assert (await claim(store, message)).answer is Answer.RUN
        assert (await state(store, message.run_id)).context == {"a": 1}

    async def test_a_known_run_runs_with_what_it_was_accepted_with(self, store: Store) -> None:
        """Whoever can write to the broker cannot change what a run does."""
        [message] = await send(store, new(context={"table": "a"}, metadata={"by": "us"}))
        forged = message.model_copy(update={"context": {"table": "b"}, "metadata": {}, "priority": Priority.HIGH})
        first = await claim(store, forged)
        assert (first.answer, first.message) == (Answer.RUN, message)
        await settle(store, first, None, retry_after=NONE)
        [again] = await handed_out(store)
        assert again.generation == 2
        second = await claim(store, again.model_copy(update={"context": {"table": "c"}}))
        assert (second.answer, second.message) == (Answer.RUN, again)

    async def test_a_worker_that_does_not_know_the_job_gives_it_back(self, store: Store) -> None:
        [message] = await send(store, new())
        assert (await claim(store, message, known=False)).answer is Answer.LATER
        assert (await state(store, message.run_id)).state is State.PENDING
        assert (await claim(store, message)).answer is Answer.DUPLICATE, "the old handing-out is void"
        assert await next_in(store)


class TestSettle:
    async def test_a_verdict_never_changes(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        assert await settle(store, held, Verdict.RAN, result={"rows": 3})
        assert not await settle(store, held, Verdict.FAILED, reason="late")
        row = await state(store, message.run_id)
        assert (row.verdict, row.result, row.reason) == (Verdict.RAN, {"rows": 3}, None)
        assert row.duration_seconds is not None

    async def test_a_failed_durable_run_leaves_a_dead_letter(self, store: Store) -> None:
        [message] = await send(store, new(context={"k": "v"}))
        failure = Failure(type="OSError", message="disk full", traceback="…")
        await settle(store, await claim(store, message), Verdict.FAILED, reason=Reason.RAISED, failure=failure)
        [letter] = await store.dead_letters.newest()
        assert letter.message
        assert (letter.run_id, letter.reason, letter.failure) == (message.run_id, "raised", failure)
        assert letter.message.context == {"k": "v"}

    async def test_a_retry_waits_in_the_outbox_as_the_next_attempt(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, retry_after=NONE, reason=Reason.RAISED)
        assert (await state(store, message.run_id)).state is State.RETRYING
        [again] = await taken(store)
        assert again.generation == 2
        held = await claim(store, again)
        assert (held.answer, held.failures, held.attempts) == (Answer.RUN, 1, 2)

    async def test_a_hand_back_counts_no_failure(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, reason=Reason.DRAINING)
        [again] = await taken(store)
        assert (await claim(store, again)).failures == 0


class TestMessagesWithoutARow:
    async def test_its_uniqueness_key_holds_at_the_claim(self, store: Store) -> None:
        run = new(unique="k")
        await store.outbox.accept([run])
        message = Message(job="backup")
        answer = await claim(store, message, unique="k")
        assert (answer.answer, answer.reason) == (Answer.SETTLED, f"skipped: duplicate of {run.run_id}")
        row = await state(store, message.run_id)
        assert (row.verdict, row.reason, row.note) == (Verdict.SKIPPED, Reason.DUPLICATE, run.run_id)

    async def test_it_takes_the_key_until_it_is_settled(self, store: Store) -> None:
        message = Message(job="backup")
        held = await claim(store, message, unique="k")
        assert [(one.run_id, one.new) for one in await store.outbox.accept([new(unique="k")])] == [
            (message.run_id, False)
        ]
        await settle(store, held)
        assert [one.new for one in await store.outbox.accept([new(unique="k")])] == [True]

    async def test_a_second_copy_is_a_duplicate_also_in_one_batch(self, store: Store) -> None:
        message = Message(job="backup")
        claims = await store.claims.claim([wants(message), wants(message)], "w1", LEASE)
        assert [one.answer for one in claims] == [Answer.RUN, Answer.DUPLICATE]

    async def test_it_goes_on_with_the_attempt_that_it_names(self, store: Store) -> None:
        message = Message(job="backup", generation=3)
        await settle(store, await claim(store, message), None, retry_after=NONE)
        assert [again.generation for again in await handed_out(store)] == [4]

    async def test_a_run_of_another_job_is_a_duplicate(self, store: Store) -> None:
        [message] = await send(store, new("backup"))
        assert (await claim(store, Message(job="report", run_id=message.run_id))).answer is Answer.DUPLICATE
        assert (await claim(store, message)).answer is Answer.RUN

    async def test_an_attempt_that_was_never_handed_out_is_a_duplicate(self, store: Store) -> None:
        [message] = await send(store, new())
        assert (await claim(store, message.model_copy(update={"generation": 2}))).answer is Answer.DUPLICATE

    async def test_answers_come_in_the_order_of_what_was_wanted(self, store: Store) -> None:
        known, other = await send(store, new("a"), new("b"))
        stranger = Message(job="c")
        claims = await store.claims.claim([wants(stranger), wants(other), wants(known)], "w1", LEASE)
        assert [one.message for one in claims] == [stranger, other, known]
        assert {one.answer for one in claims} == {Answer.RUN}
        assert len({one.token for one in claims}) == 3

    async def test_a_message_without_a_row_is_accepted_only_if_asked(self, store: Store) -> None:
        [known] = await send(store, new("a"))
        stranger = Message(job="c")
        unadopted = [replace(wants(one), adopt=False) for one in (stranger, known)]
        claims = await store.claims.claim(unadopted, "w1", LEASE)
        assert [one.answer for one in claims] == [Answer.NO_ROW, Answer.RUN]
        assert await store.ledger.run(stranger.run_id) is None
        assert (await claim(store, stranger)).answer is Answer.RUN
        [again] = await store.claims.claim(unadopted[:1], "w1", LEASE)
        assert again.answer is Answer.DUPLICATE, "now it has a row"

    async def test_no_signature_is_stored_or_changes_what_runs(self, store: Store) -> None:
        [known] = await send(store, new("a"))
        held = await claim(store, known.signed("sha256:0"))
        assert (held.answer, held.message.context) == (Answer.RUN, known.context)
        stranger = Message(job="c", context={"n": 1}).signed("sha256:0")
        await settle(store, await claim(store, stranger), None, retry_after=NONE)
        [again] = await handed_out(store)
        assert (again.run_id, again.context, again.signature) == (stranger.run_id, {"n": 1}, None)


class TestUnknownJobs:
    TEN_MINUTES = timedelta(minutes=10)

    async def disowned(self, store: Store, clock: Clock, message: Message) -> tuple[Claim, list[Message]]:
        answer = await claim(store, message, known=False)
        clock.move(timedelta(seconds=4))
        assert await taken(store) == [], "it rests for four to five seconds between workers that do not know it"
        clock.move(timedelta(seconds=1))
        return answer, await handed_out(store)

    async def test_workers_may_not_know_it_for_ten_minutes(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new())
        first, [message] = await self.disowned(steered, clock, message)
        assert (first.answer, first.reason) == (Answer.LATER, "unknown job")
        clock.move(self.TEN_MINUTES - timedelta(seconds=10) - MILLI)
        almost, [message] = await self.disowned(steered, clock, message)
        assert almost.answer is Answer.LATER
        clock.move(MILLI)
        last = await claim(steered, message, known=False)
        assert (last.answer, last.reason) == (Answer.SETTLED, "failed: unknown job")
        [letter] = await steered.dead_letters.newest()
        assert (letter.run_id, letter.reason) == (message.run_id, "unknown job")

    async def test_a_worker_that_knows_it_ends_the_ten_minutes(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new())
        _, [message] = await self.disowned(steered, clock, message)
        held = await claim(steered, message)
        clock.move(self.TEN_MINUTES)
        await settle(steered, held, None, reason=Reason.DRAINING)
        [message] = await handed_out(steered)
        assert (await claim(steered, message, known=False)).answer is Answer.LATER, "the ten minutes begin anew"

    async def test_a_stranger_without_a_row_is_kept_too(self, store: Store) -> None:
        message = Message(job="backup", context={"a": 1})
        assert (await claim(store, message, known=False)).answer is Answer.LATER
        row = await state(store, message.run_id)
        assert (row.state, row.context) == (State.PENDING, {"a": 1})
