"""The ledger has every run with its state and verdict."""

from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, Verdict, new_run_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.redis import RedisStore
from horae.store.values import Settlement
from tests.contract.stores import LEASE, NONE, T0, claim, fire, handed_out, new, run_through, send, settle, state, wants
from tests.model import ModelStore


class TestLedger:
    async def test_runs_come_newest_first_and_by_job(self, store: Store) -> None:
        await send(store, fire(0), fire(1), fire(5, job="other"))
        assert [run.scheduled_for for run in await store.ledger.runs(job="backup")] == [
            datetime(2026, 3, 1, 2, minute, tzinfo=UTC) for minute in (1, 0)
        ]
        since = datetime(2026, 3, 1, 2, 1, tzinfo=UTC)
        assert {run.job for run in await store.ledger.runs(since=since)} == {"backup", "other"}

    async def test_latest_tells_the_newest_and_the_last_verdict(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await settle(store, await claim(store, first))
        latest = (await store.ledger.latest(["backup", "none"]))["backup"]
        assert latest.newest
        assert latest.settled
        assert (latest.newest.run_id, latest.settled.run_id) == (second.run_id, first.run_id)

    async def test_what_another_scheduler_ran_is_recorded_once_settled_for_good(self, store: Store) -> None:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        run = Run(
            run_id=new_run_id(), job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.RUNNING,
            scheduled_for=at,
            started_at=at, attempts=1,
        )  # fmt: skip
        await store.ledger.record([run])
        assert (await state(store, run.run_id)).state is State.RUNNING
        ended = Run(
            run_id=run.run_id, job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.RAN, scheduled_for=at,
            started_at=at, ended_at=at + LEASE, attempts=1,
        )  # fmt: skip
        await store.ledger.record([ended])
        await store.ledger.record([run])
        row = await state(store, run.run_id)
        assert (row.verdict, row.duration_seconds) == (Verdict.RAN, 30)

    async def test_only_the_last_few_are_kept_where_asked(self, store: Store) -> None:
        for minute in range(5):
            run = Run(
                run_id=new_run_id(), job="beat", tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE, state=State.RAN,
                scheduled_for=datetime(2026, 3, 1, 2, minute, tzinfo=UTC),
            )  # fmt: skip
            await store.ledger.record([run], keep=3)
        assert len(await store.ledger.runs(job="beat")) == 3

    async def test_a_story_tells_a_run_in_order(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message, "w7"))
        story = (await state(store, message.run_id)).story
        assert [event.what for event in story] == ["accepted", "published", "claimed", "settled"]
        assert story[2].note == "w7"

    async def test_logs_are_kept_in_order(self, store: Store) -> None:
        run = new()
        await store.outbox.accept([run])
        await store.ledger.append_log(run.run_id, ["one", "two"])
        await store.ledger.append_log(run.run_id, ["three"])
        assert await store.ledger.log(run.run_id) == ["one", "two", "three"]


class TestCounts:
    async def test_they_tell_settled_runs_by_job_and_verdict(self, store: Store) -> None:
        assert dict((await store.ledger.figures()).settled) == {}
        for verdict in (Verdict.RAN, Verdict.RAN, Verdict.FAILED):
            await run_through(store, new(), verdict)
        await run_through(store, new("report"), Verdict.SKIPPED)
        await send(store, new())
        assert dict((await store.ledger.figures()).settled) == {
            ("backup", Verdict.RAN): 2,
            ("backup", Verdict.FAILED): 1,
            ("report", Verdict.SKIPPED): 1,
        }

    async def test_one_batch_counts_each(self, store: Store) -> None:
        messages = await send(store, *(new() for _ in range(5)))
        claims = await store.claims.claim([wants(one) for one in messages], "w1", LEASE)
        await store.claims.settle([Settlement(claim=one, verdict=Verdict.RAN) for one in claims])
        assert dict((await store.ledger.figures()).settled) == {("backup", Verdict.RAN): 5}

    async def test_what_another_scheduler_ran_counts_once(self, store: Store) -> None:
        run = Run(
            run_id=new_run_id(), job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.RAN, scheduled_for=T0
        )
        await store.ledger.record([run, run])
        await store.ledger.record([run])
        assert dict((await store.ledger.figures()).settled) == {("sweep", Verdict.RAN): 1}


class TestReading:
    async def test_from_and_to_are_both_within(self, store: Store) -> None:
        await send(store, *(fire(minute) for minute in range(5)))
        found = await store.ledger.runs(since=T0 + timedelta(minutes=1), until=T0 + timedelta(minutes=3))
        assert [run.scheduled_for for run in found] == [T0 + timedelta(minutes=minute) for minute in (3, 2, 1)]
        assert len(await store.ledger.runs(job="backup", limit=2)) == 2
        assert await store.ledger.runs(limit=0) == []

    async def test_nothing_of_a_job_nobody_knows(self, store: Store) -> None:
        assert await store.ledger.runs(job="none") == []
        latest = (await store.ledger.latest(["none"]))["none"]
        assert (latest.newest, latest.settled) == (None, None)
        assert await store.ledger.latest([]) == {}

    @pytest.mark.parametrize("text", ["a\nb", "a\u2028b", "a\x85b\x1c", "a|b||", "é"])
    async def test_a_story_can_be_read_whatever_a_note_holds(self, store: Store, text: str) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message, text), Verdict.FAILED, reason=Reason.RAISED, note=text)
        row = await state(store, message.run_id)
        assert [event.what for event in row.story] == ["accepted", "published", "claimed", "settled"]
        assert row.story[-1].note == f"failed: raised: {text}".replace("\n", " ")
        assert (row.reason, row.note, row.worker) == (Reason.RAISED, text, text)

    async def test_a_store_without_lines_of_log_keeps_none(self, valkey_url: str, namespace: str) -> None:
        store = RedisStore(valkey_url, namespace, StoreSettings(keep_log_lines=0))
        for kept in (store, ModelStore(namespace, settings=StoreSettings(keep_log_lines=0))):
            await kept.ledger.append_log("run", ["one", "two"])
            assert await kept.ledger.log("run") == []
        await store.close()

    async def test_the_newest_lines_of_a_log_are_kept(self, valkey_url: str, namespace: str) -> None:
        store = RedisStore(valkey_url, namespace, StoreSettings(keep_log_lines=2))
        for kept in (store, ModelStore(namespace, settings=StoreSettings(keep_log_lines=2))):
            await kept.ledger.append_log("run", [])
            await kept.ledger.append_log("run", ["one", "two", "three"])
            assert await kept.ledger.log("run") == ["two", "three"]
        await store.close()


class TestAnyText:
    """Exceptions, output and results of a job may contain a file name that is not valid text."""

    TEXT = "caf\udce9 \ud83d|\x00\u2028é"

    async def test_a_run_ends_whatever_it_says(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        await store.claims.report(held, self.TEXT)
        await store.ledger.append_log(message.run_id, [self.TEXT, "plain"])
        failure = Failure(type="OSError", message=self.TEXT, traceback=self.TEXT)
        assert await settle(store, held, None, retry_after=NONE, reason=Reason.RAISED, note=self.TEXT, failure=failure)
        [again] = await handed_out(store)
        held = await claim(store, again)
        assert await settle(
            store, held, Verdict.FAILED, reason=Reason.RAISED, note=self.TEXT, result=self.TEXT, failure=failure
        )
        row = await state(store, message.run_id)
        assert row.verdict is Verdict.FAILED
        assert row.note.startswith("caf")
        assert [line.rpartition("é")[1:] for line in await store.ledger.log(message.run_id)] == [
            ("é", ""),
            ("", "plain"),
        ]
        assert [letter.run_id for letter in await store.dead_letters.newest()] == [message.run_id]
        assert [one.run_id for one in await store.notices.take(10)] == [message.run_id]
