"""Failed runs and invalid messages are kept as dead letters until a user drops or replays them."""

import pytest

from horae.messages import Priority
from horae.reasons import Reason
from horae.runs import Cause, State, Verdict, replay_id
from horae.store import Store
from tests.contract.stores import (
    MILLI,
    T0,
    Clock,
    claim,
    died,
    handed_out,
    new,
    run_through,
    send,
    settle,
    state,
)


class TestLetters:
    async def test_a_letter_holds_what_it_takes_to_run_it_again(self, store: Store) -> None:
        run = new(context={"a": [1]}, metadata={"m": 2}, priority=Priority.HIGH, scheduled_for=T0)
        [message] = await send(store, run)
        await settle(store, await claim(store, message), Verdict.FAILED, reason=Reason.RAISED)
        letter = await store.dead_letters.get(run.run_id)
        assert letter
        assert (letter.message, letter.job, letter.body) == (message, "backup", "")

    async def test_the_newest_come_first_and_by_job(self, steered: Store, clock: Clock) -> None:
        runs = [new("backup"), new("report"), new("backup")]
        for run in runs:
            await run_through(steered, run, Verdict.FAILED)
            clock.move(MILLI)
        ids = [run.run_id for run in runs]
        assert [one.run_id for one in await steered.dead_letters.newest()] == ids[::-1]
        assert [one.run_id for one in await steered.dead_letters.newest(job="backup")] == [ids[2], ids[0]]
        assert [one.run_id for one in await steered.dead_letters.newest(1)] == [ids[2]]
        assert await steered.dead_letters.newest(job="none") == []
        assert await steered.dead_letters.ids() == ids
        assert await steered.dead_letters.ids("backup") == [ids[0], ids[2]]
        assert await steered.dead_letters.ids("none") == []

    @pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.FAILED])
    async def test_no_other_verdict_leaves_one(self, store: Store, verdict: Verdict) -> None:
        run = new()
        await run_through(store, run, verdict)
        assert await store.dead_letters.newest() == []
        assert await store.dead_letters.get(run.run_id) is None

    async def test_a_dropped_letter_leaves_what_the_ledger_says(self, store: Store) -> None:
        run = new()
        await run_through(store, run, Verdict.FAILED, reason=Reason.RAISED)
        assert await store.dead_letters.drop([run.run_id, "no-such-run"]) == 1
        assert await store.dead_letters.drop([run.run_id]) == 0
        assert await store.dead_letters.newest() == []
        row = await state(store, run.run_id)
        assert (row.reason, row.story[-1].what) == ("raised", "dropped")


class TestReplay:
    async def test_it_takes_the_letter_in_the_same_step(self, store: Store) -> None:
        failed = new(context={"a": 1})
        await run_through(store, failed, Verdict.FAILED)
        again = new(cause=Cause.REPLAY, replays=failed.run_id, context={"a": 2})
        assert [one.new for one in await store.outbox.accept([again])] == [True]
        assert await store.dead_letters.newest() == []
        old, fresh = await state(store, failed.run_id), await state(store, again.run_id)
        assert (old.verdict, old.story[-1].what, old.story[-1].note) == (
            Verdict.FAILED,
            "replayed",
            f"as {again.run_id}",
        )
        assert (fresh.state, fresh.cause, fresh.context) == (State.PENDING, Cause.REPLAY, {"a": 2})
        assert fresh.story[0].note == f"replay of {failed.run_id}"

    async def test_one_that_is_not_accepted_takes_no_letter(self, store: Store) -> None:
        failed, standing = new(), new(unique="k")
        await run_through(store, failed, Verdict.FAILED)
        await store.outbox.accept([standing])
        barred = new(cause=Cause.REPLAY, replays=failed.run_id, unique="k")
        known = new(run_id=standing.run_id, cause=Cause.REPLAY, replays=failed.run_id)
        assert [one.new for one in await store.outbox.accept([barred, known])] == [False, False]
        assert [letter.run_id for letter in await store.dead_letters.newest()] == [failed.run_id]

    async def test_one_that_fails_again_leaves_its_own(self, store: Store) -> None:
        failed = new()
        await run_through(store, failed, Verdict.FAILED)
        again = new(cause=Cause.REPLAY, replays=failed.run_id)
        await run_through(store, again, Verdict.FAILED)
        assert [letter.run_id for letter in await store.dead_letters.newest()] == [again.run_id]

    async def test_the_story_tells_the_attempt(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, retry_after=MILLI * 0)
        [again] = await handed_out(store)
        await settle(store, await claim(store, again), Verdict.FAILED)
        await store.outbox.accept([new(cause=Cause.REPLAY, replays=message.run_id)])
        assert (await state(store, message.run_id)).story[-1].generation == 2


class TestBodies:
    async def test_a_body_that_is_no_message_is_kept(self, store: Store) -> None:
        id = await store.dead_letters.bury(b"\xff{", Reason.INVALID_MESSAGE, "not JSON")
        [letter] = await store.dead_letters.newest()
        assert (letter.run_id, letter.message, letter.body) == (id, None, "\ufffd{")
        assert (letter.reason, letter.note) == (Reason.INVALID_MESSAGE, "not JSON")
        assert await store.dead_letters.get(id) == letter

    async def test_the_ledger_lists_it_with_the_reason(self, store: Store) -> None:
        id = await store.dead_letters.bury(b"{}", Reason.INVALID_MESSAGE, "job: Field required", "backup")
        row = await state(store, id)
        assert (row.job, row.verdict) == ("backup", Verdict.FAILED)
        assert (row.reason, row.note) == (Reason.INVALID_MESSAGE, "job: Field required")
        assert [run.run_id for run in await store.ledger.runs()] == [id]

    async def test_a_hostile_reason_hides_nothing(self, store: Store) -> None:
        """The names of unknown fields come from the sender of the message."""
        await store.dead_letters.bury(b"{}", Reason.INVALID_MESSAGE, "a\u2028b\x0b|\n: Extra inputs are not permitted")
        assert len(await store.ledger.runs()) == 1

    async def test_it_can_be_dropped(self, store: Store) -> None:
        id = await store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
        assert await store.dead_letters.drop([id]) == 1
        assert await store.dead_letters.newest() == []


class TestAll:
    async def test_every_one_comes_oldest_first_or_those_asked_for(self, store: Store) -> None:
        first, other, last = await died(store, new(), new("other"), new())
        letters = store.dead_letters
        assert [one.run_id async for one in letters.every()] == [first, other, last]
        assert [one.run_id async for one in letters.every("backup")] == [first, last]
        assert [one.run_id async for one in letters.every(run_ids=[last, "unknown", first])] == [last, first]
        await letters.drop([first])
        assert [one.run_id async for one in letters.every()] == [other, last]

    async def test_a_letter_keeps_its_priority(self, store: Store) -> None:
        [run] = await died(store, new(priority=Priority.HIGH))
        letter = await store.dead_letters.get(run)
        assert letter
        assert letter.message
        assert letter.message.priority is Priority.HIGH

    async def test_a_letter_goes_in_the_step_that_accepts_its_replay(self, store: Store) -> None:
        [run] = await died(store, new())
        replay = new(run_id=replay_id(run), cause=Cause.REPLAY, replays=run, metadata={"replays": run})
        assert [one.new for one in await store.outbox.accept([replay, replay])] == [True, False]
        assert await store.dead_letters.get(run) is None
        old, row = await state(store, run), await state(store, replay.run_id)
        assert (old.replayed_as, old.verdict) == (replay.run_id, Verdict.FAILED)
        assert (row.replays, row.story[0].note) == (run, f"replay of {run}")

    async def test_a_letter_stays_while_another_run_has_the_uniqueness_key(self, store: Store) -> None:
        [run] = await died(store, new())
        holder = new(unique="k")
        await store.outbox.accept([holder])
        [answer] = await store.outbox.accept([new(cause=Cause.REPLAY, replays=run, unique="k")])
        assert (answer.run_id, answer.new) == (holder.run_id, False)
        assert await store.dead_letters.get(run)
