"""Settled runs are kept up to an age and a number. A message older than the retention is not run a second time."""

from datetime import timedelta

import pytest

from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Verdict, new_run_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import Answer
from tests.contract.stores import (
    MILLI,
    T0,
    Clock,
    claim,
    fire,
    id_made_at,
    new,
    pruned,
    run_through,
    send,
    settle,
    state,
    verdict_of,
)
from tests.waiting import wait_until

MINUTE = timedelta(minutes=1)
KEEP = timedelta(milliseconds=600)
"""The retention in the tests of age. A server expires rows by its own clock, so the tests wait for this time."""
SHORT = StoreSettings(keep_runs_days=KEEP / timedelta(days=1))
FEW = StoreSettings(keep_runs_per_job=10, keep_dead_letters=3)


@pytest.mark.parametrize("store_settings", [SHORT])
class TestByAge:
    async def gone(self, store: Store, clock: Clock, run_id: str) -> None:
        clock.move(KEEP + MILLI)

        async def is_gone() -> bool:
            return await store.ledger.run(run_id) is None

        await wait_until(is_gone, "the row to expire")

    async def test_a_settled_run_goes_with_all_that_is_known_of_it(self, steered: Store, clock: Clock) -> None:
        run = new()
        await run_through(steered, run)
        await steered.ledger.append_log(run.run_id, ["line"])
        await self.gone(steered, clock, run.run_id)
        await pruned(steered)
        assert await steered.ledger.runs() == await steered.ledger.runs(job="backup") == []
        await wait_until(lambda: _nothing(steered, run.run_id), "its log to expire")

    async def test_what_is_not_settled_stays(self, steered: Store, clock: Clock) -> None:
        run, settled = new(), new()
        await run_through(steered, settled)
        await steered.outbox.accept([run])
        await self.gone(steered, clock, settled.run_id)
        await pruned(steered)
        assert [row.run_id for row in await steered.ledger.runs()] == [run.run_id]

    async def test_a_dead_letter_stays_and_goes_some_time_after_it_is_dropped(
        self, steered: Store, clock: Clock
    ) -> None:
        failed, settled = new(), new()
        await run_through(steered, failed, Verdict.FAILED)
        await run_through(steered, settled)
        await self.gone(steered, clock, settled.run_id)
        await pruned(steered)
        assert [row.run_id for row in await steered.ledger.runs()] == [failed.run_id]
        await steered.dead_letters.drop([failed.run_id])
        assert await verdict_of(steered, failed.run_id) == (Verdict.FAILED, None)
        await self.gone(steered, clock, failed.run_id)

    async def test_a_body_that_was_no_message_goes_like_a_run(self, steered: Store, clock: Clock) -> None:
        id = await steered.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
        await steered.dead_letters.drop([id])
        await self.gone(steered, clock, id)
        await pruned(steered)
        assert await steered.ledger.runs() == []


async def _nothing(store: Store, run_id: str) -> bool:
    return await store.ledger.log(run_id) == []


async def test_pruning_looks_past_what_it_may_not_prune(valkey_url: str, namespace: str) -> None:
    """More dead letters than one step looks at come before an expired run."""
    from horae.store.redis import RedisStore

    store = RedisStore(valkey_url, namespace, SHORT)
    letters = [await store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, f"letter {n}") for n in range(520)]
    run = new()
    await run_through(store, run)

    async def index() -> list[str]:
        await pruned(store)
        found: list[str] = await store._connection.client.zrange(store._connection.key("ledger"), 0, -1)
        return found

    async def only_letters() -> bool:
        return sorted(await index()) == sorted(letters)

    await wait_until(only_letters, "the expired run to leave the index")
    await store.close()


@pytest.mark.parametrize("store_settings", [FEW])
class TestByNumber:
    async def test_the_oldest_settled_go_and_none_that_settled_a_moment_ago(self, steered: Store, clock: Clock) -> None:
        for minute in range(15):
            await run_through(steered, fire(minute))
        assert len(await steered.ledger.runs()) == 15
        clock.move(MINUTE - MILLI)
        assert await pruned(steered) == 0
        clock.move(MILLI)
        assert await pruned(steered) == 5
        kept = [run.scheduled_for for run in await steered.ledger.runs()]
        assert kept == [T0 + timedelta(minutes=minute) for minute in range(14, 4, -1)]

    async def test_settling_trims_as_well(self, steered: Store, clock: Clock) -> None:
        for minute in range(12):
            await run_through(steered, fire(minute))
            clock.move(MINUTE)
        assert len(await steered.ledger.runs()) == 10

    async def test_it_is_the_number_of_one_job(self, steered: Store, clock: Clock) -> None:
        for minute in range(10):
            await run_through(steered, fire(minute, job="backup"))
            await run_through(steered, fire(minute, job="report"))
        clock.move(MINUTE)
        assert await pruned(steered) == 0

    async def test_what_is_not_settled_stays(self, steered: Store, clock: Clock) -> None:
        waiting = await send(steered, *(fire(minute) for minute in range(12)))
        clock.move(MINUTE)
        for minute in range(12, 15):
            await run_through(steered, fire(minute))
        clock.move(MINUTE)
        await pruned(steered)
        assert {message.run_id for message in waiting} <= {run.run_id for run in await steered.ledger.runs()}

    async def test_the_row_of_a_dead_letter_stays(self, steered: Store, clock: Clock) -> None:
        await run_through(steered, fire(0), Verdict.FAILED, reason=Reason.RAISED)
        for minute in range(1, 20):
            await run_through(steered, fire(minute))
            clock.move(MINUTE)
        [letter] = await steered.dead_letters.newest()
        assert (letter.run_id, letter.reason) == (fire(0).run_id, "raised")
        assert (await state(steered, letter.run_id)).verdict is Verdict.FAILED

    async def test_a_failed_run_whose_letter_is_gone_goes_as_any_other(self, steered: Store, clock: Clock) -> None:
        await run_through(steered, fire(0), Verdict.FAILED)
        await steered.dead_letters.drop([fire(0).run_id])
        for minute in range(1, 12):
            await run_through(steered, fire(minute))
            clock.move(MINUTE)
        assert await steered.ledger.run(fire(0).run_id) is None

    async def test_the_newest_dead_letters_are_kept(self, steered: Store, clock: Clock) -> None:
        runs = [new(context={"n": n}) for n in range(5)]
        for run in runs:
            await run_through(steered, run, Verdict.FAILED)
            clock.move(MILLI)
        assert await pruned(steered) == 2
        assert [letter.run_id for letter in await steered.dead_letters.newest()] == [run.run_id for run in runs[:1:-1]]
        assert (await state(steered, runs[0].run_id)).verdict is Verdict.FAILED, "what the ledger says of it stays"


class TestTooOldToProveUnrun:
    async def test_by_age(self, steered: Store, clock: Clock) -> None:
        month = timedelta(days=30)
        within, beyond = (Message(job="backup", run_id=id_made_at(T0 - month - more)) for more in (timedelta(0), MILLI))
        assert (await claim(steered, within)).answer is Answer.RUN
        answer = await claim(steered, beyond)
        assert (answer.answer, answer.reason) == (Answer.TOO_OLD, "too old to prove unrun")
        assert await steered.ledger.run(beyond.run_id) is None

    @pytest.mark.parametrize("store_settings", [FEW])
    async def test_by_number(self, steered: Store, clock: Clock) -> None:
        for minute in range(12):
            await run_through(steered, fire(minute))
        clock.move(MINUTE)
        await pruned(steered)
        forgotten, kept = fire(1), fire(2)
        assert (await claim(steered, forgotten.message)).answer is Answer.TOO_OLD
        assert (await claim(steered, kept.message)).answer is Answer.DUPLICATE
        reached = Message(job="backup", run_id=id_made_at(T0 + MINUTE + MILLI))
        unreached = Message(job="backup", run_id=id_made_at(T0 + MINUTE))
        assert (await claim(steered, unreached)).answer is Answer.TOO_OLD
        assert (await claim(steered, reached)).answer is Answer.RUN
        elsewhere = Message(job="report", run_id=id_made_at(T0))
        assert (await claim(steered, elsewhere)).answer is Answer.RUN, "another job's ledger reaches further"

    async def test_an_id_that_tells_no_age_is_believed(self, steered: Store) -> None:
        assert (await claim(steered, Message(job="backup", run_id="by-hand"))).answer is Answer.RUN

    async def test_what_has_a_row_is_never_too_old(self, steered: Store, clock: Clock) -> None:
        [message] = await send(steered, new(run_id=id_made_at(T0)))
        clock.move(timedelta(days=60))
        held = await claim(steered, message)
        assert held.answer is Answer.RUN
        assert await settle(steered, held)

    async def test_a_fire_is_as_old_as_its_instant(self, steered: Store) -> None:
        old = Message(job="backup", run_id=new_run_id(), scheduled_for=T0 - timedelta(days=31))
        assert (await claim(steered, old)).answer is Answer.TOO_OLD
