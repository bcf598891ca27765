"""Runs that a broker with schedules of its own gets before they are due. The store decides when and where they run."""

from datetime import datetime, timedelta

import pytest

from horae.jobs.policies import Overlap
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import State, Verdict
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import Answer
from tests.contract.stores import MILLI, NONE, T0, Clock, claim, new, send, settle, state, taken, verdict_of
from tests.model.retention import FRESH

SOON = timedelta(seconds=5)
WITHIN = timedelta(days=30)
DUE = T0 + SOON


@pytest.fixture
def store_settings() -> StoreSettings:
    return StoreSettings(keep_runs_per_job=10)


async def upcoming(store: Store, provider: str = "nats", within: timedelta = WITHIN) -> list[Message]:
    return [one.message for one in await store.outbox.upcoming(provider, within)]


async def place(store: Store, due: datetime = DUE) -> Message:
    """Accept a run that is due later, and give its message to the broker."""
    await store.outbox.accept([new(due=due, provider="nats")])
    [message] = await upcoming(store)
    await store.outbox.placed([message])
    return message


class TestUpcoming:
    async def test_it_is_what_is_due_later_and_within_the_time(self, steered: Store) -> None:
        last, beyond = new(due=T0 + WITHIN, provider="nats"), new(due=T0 + WITHIN + MILLI, provider="nats")
        now, other = new(provider="nats"), new(due=DUE, provider="redis")
        await steered.outbox.accept([last, beyond, now, other])
        [found] = await steered.outbox.upcoming("nats", WITHIN)
        assert (found.message.run_id, found.message.generation, found.due) == (last.run_id, 1, T0 + WITHIN)

    async def test_what_a_relay_took_or_a_caller_publishes_is_due_and_not_upcoming(self, steered: Store) -> None:
        await steered.outbox.accept([new(provider="nats")], hold=SOON)
        await steered.outbox.accept([new(provider="nats")])
        assert len(await taken(steered)) == 1
        assert await upcoming(steered) == []

    async def test_what_the_broker_has_is_not_given_twice_and_stays_in_the_outbox(
        self, steered: Store, clock: Clock
    ) -> None:
        message = await place(steered)
        assert await upcoming(steered) == []
        assert (await state(steered, message.run_id)).state is State.PENDING
        assert await taken(steered) == []
        clock.move(SOON)
        assert await taken(steered) == [message], "the broker discards it, because it knows its id"

    async def test_each_generation_is_given(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        clock.move(SOON)
        held = await claim(steered, message)
        await settle(steered, held, None, retry_after=SOON)
        [again] = await steered.outbox.upcoming("nats", WITHIN)
        assert (again.message.generation, again.due) == (2, DUE + SOON)

    async def test_an_answer_for_an_older_generation_or_an_unknown_run_changes_nothing(
        self, steered: Store, clock: Clock
    ) -> None:
        message = await place(steered)
        clock.move(SOON)
        await settle(steered, await claim(steered, message), None, retry_after=SOON)
        await steered.outbox.placed([message, Message(job="backup", run_id="unknown")])
        assert [one.generation for one in await upcoming(steered)] == [2]
        assert await steered.ledger.run("unknown") is None

    async def test_all_come_in_turn(self, steered: Store) -> None:
        runs = [new(due=DUE, provider="nats") for _ in range(2500)]
        await steered.outbox.accept(runs)
        found: set[str] = set()
        for _ in range(10):
            some = await upcoming(steered)
            await steered.outbox.placed(some)
            assert not found & {one.run_id for one in some}
            found |= {one.run_id for one in some}
        assert found == {run.run_id for run in runs}


class TestClaims:
    async def test_before_the_run_is_due_nothing_changes(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        before = await state(steered, message.run_id)
        clock.move(SOON - MILLI)
        assert (await claim(steered, message)).answer is Answer.EARLY
        assert (await claim(steered, message, known=False)).answer is Answer.EARLY
        assert await state(steered, message.run_id) == before
        clock.move(MILLI)
        assert (await claim(steered, message)).answer is Answer.RUN

    async def test_an_early_retry_waits_too(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new(provider="nats"))
        await settle(steered, await claim(steered, message), None, retry_after=SOON)
        [again] = await upcoming(steered)
        assert (await claim(steered, again)).answer is Answer.EARLY
        clock.move(SOON)
        assert (await claim(steered, again)).answer is Answer.RUN

    async def test_a_published_run_is_claimed_though_the_clock_went_back(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        clock.move(SOON)
        await steered.outbox.published(await taken(steered))
        clock.move(-SOON)
        assert (await claim(steered, message)).answer is Answer.RUN

    async def test_the_claim_empties_the_outbox(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        clock.move(SOON)
        held = await claim(steered, message)
        assert await taken(steered) == []
        await steered.outbox.published([message])
        assert (await claim(steered, message)).answer is Answer.DUPLICATE
        assert await settle(steered, held)
        assert await taken(steered, NONE) == []

    async def test_what_the_relay_published_as_well_is_a_duplicate(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        clock.move(SOON)
        [copy] = await taken(steered)
        assert (await claim(steered, message)).answer is Answer.RUN
        await steered.outbox.published([copy])
        assert (await claim(steered, copy)).answer is Answer.DUPLICATE
        assert (await state(steered, message.run_id)).state is State.RUNNING


class TestChangesMeanwhile:
    async def test_a_paused_run_waits_and_comes_as_another_generation(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        await steered.pauses.pause("backup")
        clock.move(SOON)
        assert (await claim(steered, message, overlap=Overlap.QUEUE)).answer is Answer.LATER
        assert await taken(steered) == []
        assert await steered.pauses.resume("backup") == 1
        assert [one.generation for one in await taken(steered)] == [2]

    async def test_a_cancelled_run_never_runs(self, steered: Store, clock: Clock) -> None:
        message = await place(steered)
        await steered.claims.cancel(message.run_id)
        clock.move(SOON)
        assert (await claim(steered, message)).answer is Answer.DUPLICATE
        assert await taken(steered) == []
        assert await verdict_of(steered, message.run_id) == (Verdict.CANCELLED, Reason.REQUESTED)

    @pytest.mark.parametrize("when", ["before", "after"])
    async def test_a_moved_run_goes_to_its_new_provider_alone(self, steered: Store, clock: Clock, when: str) -> None:
        message = await place(steered)
        await steered.moves.move("redis", "backup")
        clock.move(NONE if when == "before" else SOON)
        if when == "before":
            assert await steered.moves.follow("nats") == 1
            assert [one.generation for one in await upcoming(steered, "redis")] == [2]
            clock.move(SOON)
        else:
            assert (await steered.outbox.take(["nats"], 10, SOON)).entries == []
        assert (await claim(steered, message)).answer is Answer.DUPLICATE
        [moved] = [due.message for due in (await steered.outbox.take(["redis"], 10, SOON)).entries]
        assert (moved.run_id, moved.generation) == (message.run_id, 2)
        assert (await claim(steered, moved)).answer is Answer.RUN

    async def test_a_run_that_the_broker_does_not_have_moves_as_it_is(self, steered: Store) -> None:
        await steered.outbox.accept([new(due=DUE, provider="nats")])
        await steered.moves.move("redis", "backup")
        await steered.moves.follow("nats")
        assert [one.generation for one in await upcoming(steered, "redis")] == [1]


class TestRetention:
    """A run that is dropped from the ledger could run when its message comes."""

    async def test_a_settled_run_whose_message_comes_later_keeps_its_row(self, steered: Store, clock: Clock) -> None:
        message = await place(steered, due=T0 + WITHIN / 2)
        await steered.claims.cancel(message.run_id)
        clock.move(FRESH)
        for _ in range(11):
            [other] = await send(steered, new(provider="nats"))
            await settle(steered, await claim(steered, other))
            clock.move(FRESH)
        assert [run.run_id for run in await steered.ledger.runs(job="backup")].count(message.run_id) == 0
        clock.move(WITHIN / 2)
        assert (await claim(steered, message)).answer is Answer.DUPLICATE
