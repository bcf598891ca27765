"""Every run has one entry in the outbox until it is published."""

from datetime import timedelta

import pytest

from horae.jobs.policies import Overlap
from horae.messages import Message, Priority
from horae.reasons import Reason
from horae.runs import Cause, State, Verdict
from horae.store import Store
from horae.store.values import Answer
from tests.contract.stores import (
    LEASE,
    MILLI,
    NONE,
    PROVIDERS,
    T0,
    Clock,
    claim,
    handed_out,
    new,
    next_in,
    run_through,
    send,
    settle,
    state,
    taken,
)

SOON = timedelta(seconds=5)


class TestOutbox:
    async def test_an_accepted_run_is_in_the_ledger_and_due(self, store: Store) -> None:
        run = new(context={"repos": ["a"], "empty": [], "none": {}})
        assert [one.new for one in await store.outbox.accept([run])] == [True]
        row = await state(store, run.run_id)
        assert (row.state, row.cause, row.context) == (State.PENDING, Cause.ENQUEUE, run.context)
        [message] = await taken(store)
        assert (message.run_id, message.generation, message.context) == (run.run_id, 1, run.context)

    async def test_accepting_a_run_twice_writes_it_once(self, store: Store) -> None:
        run = new()
        assert [one.new for one in await store.outbox.accept([run, run])] == [True, False]
        assert len(await taken(store)) == 1

    async def test_what_one_relay_took_no_other_gets(self, store: Store) -> None:
        await store.outbox.accept([new(), new()])
        assert len(await taken(store)) == 2
        assert await taken(store) == []

    async def test_what_a_relay_took_and_did_not_publish_comes_again(self, store: Store) -> None:
        await store.outbox.accept([new()])
        first = await taken(store, NONE)
        assert await taken(store, NONE) == first

    async def test_a_later_run_waits(self, store: Store) -> None:
        due = (await store.now() + timedelta(hours=1)).replace(microsecond=0)
        await store.outbox.accept([new(due=due)])
        assert await taken(store) == []
        wait = await next_in(store)
        assert wait
        assert timedelta(minutes=59) < wait <= timedelta(hours=1)

    async def test_the_ledger_says_when_a_run_and_its_retry_are_due(self, steered: Store, clock: Clock) -> None:
        run = new(due=T0 + SOON)
        await steered.outbox.accept([run])
        assert (await state(steered, run.run_id)).due == T0 + SOON
        clock.move(SOON)
        [message] = await handed_out(steered)
        await settle(steered, await claim(steered, message), None, retry_after=SOON)
        row = await state(steered, message.run_id)
        assert (row.state, row.due) == (State.RETRYING, T0 + SOON + SOON)

    async def test_hold_keeps_the_relay_off_what_its_caller_publishes(self, store: Store) -> None:
        await store.outbox.accept([new()], hold=LEASE)
        assert await taken(store) == []

    async def test_published_is_forgotten_and_queued(self, store: Store) -> None:
        run = new()
        await send(store, run)
        assert await next_in(store) is None
        assert (await state(store, run.run_id)).state is State.QUEUED


class TestUniqueness:
    async def test_while_one_is_not_settled_another_with_the_key_is_not_accepted(self, store: Store) -> None:
        first, second, other = new(unique="k"), new(unique="k"), new(unique="other")
        accepted = await store.outbox.accept([first, second, other])
        assert [(one.run_id, one.new) for one in accepted] == [
            (first.run_id, True),
            (first.run_id, False),
            (other.run_id, True),
        ]
        assert await store.ledger.run(second.run_id) is None
        assert len(await taken(store)) == 2

    async def test_the_key_is_of_one_job(self, store: Store) -> None:
        accepted = await store.outbox.accept([new("backup", unique="k"), new("report", unique="k")])
        assert [one.new for one in accepted] == [True, True]

    async def test_no_key_is_no_bar(self, store: Store) -> None:
        assert [one.new for one in await store.outbox.accept([new(), new()])] == [True, True]

    @pytest.mark.parametrize("verdict", list(Verdict))
    async def test_any_verdict_frees_the_key(self, store: Store, verdict: Verdict) -> None:
        await run_through(store, new(unique="k"), verdict)
        assert [one.new for one in await store.outbox.accept([new(unique="k")])] == [True]

    async def test_a_retry_and_a_hand_back_keep_the_key(self, store: Store) -> None:
        [message] = await send(store, new(unique="k"))
        await settle(store, await claim(store, message), None, retry_after=NONE)
        [again] = await handed_out(store)
        await settle(store, await claim(store, again), None, reason=Reason.DRAINING)
        assert [one.new for one in await store.outbox.accept([new(unique="k")])] == [False]

    async def test_cancelling_frees_the_key(self, store: Store) -> None:
        run = new(unique="k")
        await store.outbox.accept([run])
        await store.claims.cancel(run.run_id)
        assert [one.new for one in await store.outbox.accept([new(unique="k")])] == [True]

    async def test_the_same_run_twice_is_known_and_not_barred_by_itself(self, store: Store) -> None:
        run = new(unique="k")
        accepted = [*await store.outbox.accept([run]), *await store.outbox.accept([run])]
        assert [(one.run_id, one.new) for one in accepted] == [(run.run_id, True), (run.run_id, False)]


class TestRelaysThatAreLate:
    async def test_what_was_handed_out_again_meanwhile_stays(self, store: Store) -> None:
        await store.outbox.accept([new()])
        [message] = await taken(store, NONE)
        await settle(store, await claim(store, message), None, reason=Reason.DRAINING)
        await store.outbox.published([message])
        assert [again.generation for again in await taken(store)] == [2]

    async def test_what_waited_for_another_run_meanwhile_stays(self, store: Store) -> None:
        [first] = await send(store, new())
        held = await claim(store, first, overlap=Overlap.QUEUE)
        await store.outbox.accept([new()])
        [second] = await taken(store)
        assert (await claim(store, second, overlap=Overlap.QUEUE)).answer is Answer.LATER
        await settle(store, held)
        await store.outbox.published([second])
        [again] = await taken(store)
        assert (again.run_id, again.generation) == (second.run_id, 2), (
            "it is in the outbox, or nobody would ever run it"
        )

    async def test_publishing_what_is_settled_or_unknown_changes_nothing(self, store: Store) -> None:
        await store.outbox.accept([new()])
        [message] = await taken(store)
        await settle(store, await claim(store, message))
        await store.outbox.published([message, Message(job="backup")])
        assert (await state(store, message.run_id)).verdict is Verdict.RAN


class TestTime:
    async def test_a_run_is_due_at_its_instant_and_not_before(self, steered: Store, clock: Clock) -> None:
        await steered.outbox.accept([new(due=T0 + SOON)])
        clock.move(SOON - MILLI)
        assert (await taken(steered), await next_in(steered)) == ([], MILLI)
        clock.move(MILLI)
        assert len(await taken(steered)) == 1

    async def test_the_longest_overdue_comes_first(self, steered: Store, clock: Clock) -> None:
        due = [T0 + timedelta(seconds=seconds) for seconds in (3, 1, 2)]
        await steered.outbox.accept([new(due=at, context={"at": place}) for place, at in enumerate(due)])
        clock.move(SOON)
        limited = (await steered.outbox.take(PROVIDERS, 2, LEASE)).entries
        assert [one.message.context["at"] for one in limited] == [1, 2]
        assert [message.context["at"] for message in await taken(steered)] == [0]

    async def test_a_hold_ends(self, steered: Store, clock: Clock) -> None:
        await steered.outbox.accept([new()], hold=SOON)
        clock.move(SOON - MILLI)
        assert await taken(steered) == []
        clock.move(MILLI)
        assert len(await taken(steered)) == 1

    async def test_a_retry_waits_as_long_as_it_was_told(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new())
        await settle(steered, await claim(steered, message), None, retry_after=SOON)
        clock.move(SOON - MILLI)
        assert await taken(steered) == []
        clock.move(MILLI)
        assert [again.generation for again in await taken(steered)] == [2]


@pytest.mark.parametrize("text", ["é\x00\n{}\u2028", "}" * 50, "x" * 100_000, '"attempt":1'])
async def test_a_context_comes_back_whole_at_each_attempt(store: Store, text: str) -> None:
    sent = {"text": text, "empty": [], "nothing": {}, "deep": {"a": [1, None, 1.5, 2**60]}}
    messages = await send(
        store, new(context=sent, metadata={"m": text}, priority=Priority.HIGH, scheduled_for=T0 + MILLI)
    )
    for attempt in (1, 2, 3):
        [message] = messages
        assert (message.generation, message.context, message.metadata) == (attempt, sent, {"m": text})
        assert (message.priority, message.scheduled_for) == (Priority.HIGH, T0 + MILLI)
        await settle(store, await claim(store, message), None, reason=Reason.DRAINING)
        messages = await handed_out(store)
    assert (await state(store, message.run_id)).context == sent
