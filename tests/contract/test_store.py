"""What every state store does, on memory and on a real Valkey."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs import CatchUp, Overlap, Tier
from horae.messages import Lane, Message
from horae.runs import Cause, Failure, Run, State, Verdict, fire_id, new_run_id, replay_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import (
    Advance,
    Answer,
    Cancelled,
    Claim,
    Cursor,
    Declared,
    Hold,
    NewRun,
    Only,
    Policy,
    Settlement,
    Wanted,
)

LEASE = timedelta(seconds=30)
SOON = timedelta(seconds=5)
NONE = timedelta(0)


@pytest.fixture(params=["memory", "valkey"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    if request.param == "memory":
        from horae.store.memory import MemoryStore

        yield MemoryStore(namespace)
        return
    from horae.store.redis import RedisStore

    opened = RedisStore(request.getfixturevalue("valkey_url"), namespace, StoreSettings())
    await opened.check()
    yield opened
    await opened.close()


def new(job: str = "backup", **fields: object) -> NewRun:
    defaults: dict[str, object] = {"id": new_run_id(), "tier": Tier.ONEIRIC, "cause": Cause.ENQUEUE}
    return NewRun(job=job, **(defaults | fields))  # type: ignore[arg-type]


ANY_AGE = timedelta(days=36_500)


def wants(message: Message, unique: str = "", **policy: object) -> Wanted:
    defaults: dict[str, object] = {"overlap": Overlap.ALLOW, "catch_up": CatchUp.ALL, "catch_up_window": ANY_AGE}
    return Wanted(message=message, policy=Policy(**(defaults | policy)), unique=unique)  # type: ignore[arg-type]


async def taken(store: Store, hold: timedelta = LEASE) -> list[Message]:
    """What a relay gets."""
    return [due.message for due in (await store.outbox.take(100, hold)).entries]


async def next_in(store: Store) -> timedelta | None:
    return (await store.outbox.take(0, NONE)).next_in


async def send(store: Store, *runs: NewRun) -> list[Message]:
    """Accept and publish: what the broker would carry."""
    await store.outbox.accept(runs)
    messages = await taken(store)
    await store.outbox.published(messages)
    order = [run.id for run in runs]
    return sorted(messages, key=lambda message: order.index(message.run))


async def claim(
    store: Store, message: Message, worker: str = "w1", lease: timedelta = LEASE, **policy: object
) -> Claim:
    return (await store.claims.claim([wants(message, **policy)], worker, lease))[0]  # type: ignore[arg-type]


async def settle(store: Store, held: Claim, verdict: Verdict | None = Verdict.RAN, **fields: object) -> bool:
    return (await store.claims.settle([Settlement(claim=held, verdict=verdict, **fields)]))[0]  # type: ignore[arg-type]


async def state(store: Store, run: str) -> Run:
    found = await store.ledger.run(run)
    assert found
    return found


class TestOutbox:
    async def test_an_accepted_run_is_in_the_ledger_and_due(self, store: Store) -> None:
        run = new(context={"repos": ["a"], "empty": [], "none": {}})
        assert [one.new for one in await store.outbox.accept([run])] == [True]
        row = await state(store, run.id)
        assert (row.state, row.cause, row.context) == (State.PENDING, Cause.ENQUEUE, run.context)
        [message] = await taken(store)
        assert (message.run, message.attempt, message.context) == (run.id, 1, run.context)

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

    async def test_hold_keeps_the_relay_off_what_its_caller_publishes(self, store: Store) -> None:
        await store.outbox.accept([new()], hold=LEASE)
        assert await taken(store) == []

    async def test_published_is_forgotten_and_queued(self, store: Store) -> None:
        run = new()
        await send(store, run)
        assert await next_in(store) is None
        assert (await state(store, run.id)).state is State.QUEUED


class TestClaim:
    async def test_only_one_worker_runs_a_run(self, store: Store) -> None:
        [message] = await send(store, new())
        first, second = await claim(store, message, "w1"), await claim(store, message, "w2")
        assert (first.answer, second.answer) == (Answer.RUN, Answer.DUPLICATE)
        row = await state(store, message.run)
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
        assert (await state(store, message.run)).state is State.RUNNING

    async def test_a_message_that_others_published_is_accepted(self, store: Store) -> None:
        message = Message(job="backup", context={"a": 1})
        assert (await claim(store, message)).answer is Answer.RUN
        assert (await state(store, message.run)).context == {"a": 1}

    async def test_a_worker_that_does_not_know_the_job_gives_it_back(self, store: Store) -> None:
        [message] = await send(store, new())
        assert (await claim(store, message, known=False)).answer is Answer.LATER
        assert (await state(store, message.run)).state is State.PENDING
        assert (await claim(store, message)).answer is Answer.DUPLICATE, "the old handing-out is void"
        assert await next_in(store)


class TestSettle:
    async def test_a_verdict_never_changes(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        assert await settle(store, held, Verdict.RAN, result={"rows": 3})
        assert not await settle(store, held, Verdict.FAILED, reason="late")
        row = await state(store, message.run)
        assert (row.verdict, row.result, row.reason) == (Verdict.RAN, {"rows": 3}, "")
        assert row.duration_seconds is not None

    async def test_a_failed_durable_run_leaves_a_dead_letter(self, store: Store) -> None:
        [message] = await send(store, new(context={"k": "v"}))
        failure = Failure(type="OSError", message="disk full", traceback="…")
        await settle(store, await claim(store, message), Verdict.FAILED, reason="raised", failure=failure)
        [letter] = await store.dead_letters.newest()
        assert letter.message
        assert (letter.run, letter.reason, letter.failure) == (message.run, "raised", failure)
        assert letter.message.context == {"k": "v"}

    async def test_a_retry_waits_in_the_outbox_as_the_next_attempt(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, retry_after=NONE, reason="raised")
        assert (await state(store, message.run)).state is State.RETRYING
        [again] = await taken(store)
        assert again.attempt == 2
        held = await claim(store, again)
        assert (held.answer, held.failures, held.attempts) == (Answer.RUN, 1, 2)

    async def test_a_hand_back_counts_no_failure(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message), None, reason="draining")
        [again] = await taken(store)
        assert (await claim(store, again)).failures == 0


class TestLease:
    async def test_a_renewed_lease_is_kept(self, store: Store) -> None:
        [message] = await send(store, new())
        held = await claim(store, message)
        assert store.claims.renew([held], LEASE) == [Hold.KEPT]
        assert await store.claims.sweep(10) == []

    async def test_a_lapsed_lease_hands_the_run_out_again_and_voids_the_old_claim(self, store: Store) -> None:
        [message] = await send(store, new())
        stale = await claim(store, message, "dead", lease=NONE)
        [lapsed] = await store.claims.sweep(10)
        assert (lapsed.run, lapsed.worker, lapsed.verdict) == (message.run, "dead", None)
        [again] = await taken(store)
        fresh = await claim(store, again, "alive")
        assert fresh.answer is Answer.RUN
        assert fresh.token > stale.token
        assert not await settle(store, stale)
        assert store.claims.renew([stale, fresh], LEASE) == [Hold.LOST, Hold.KEPT]
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
        row = await state(store, held.message.run)
        assert (row.verdict, row.reason, row.failure) == (Verdict.FAILED, "killed its process 3 times", failure)

    async def test_progress_is_kept_for_the_holder_of_the_claim_alone(self, store: Store) -> None:
        [message] = await send(store, new())
        stale = await claim(store, message, lease=NONE)
        await store.claims.report(stale, "half way")
        assert (await state(store, message.run)).progress == "half way"
        await store.claims.sweep(10)
        await store.claims.report(stale, "nearly there")
        assert (await state(store, message.run)).progress == "half way"
        unknown = Claim(message=Message(job="backup"), answer=Answer.RUN)
        await store.claims.report(unknown, "of nothing")
        assert await store.ledger.run(unknown.message.run) is None

    async def test_an_internal_run_is_lost_with_its_sidecar(self, store: Store) -> None:
        run = new(tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE)
        assert (await store.claims.begin(run, Overlap.SKIP, "s1", NONE)).answer is Answer.RUN
        [lapsed] = await store.claims.sweep(10)
        assert lapsed.verdict is Verdict.FAILED
        assert await store.dead_letters.newest() == []

    async def test_begin_gives_a_fire_to_one_sidecar(self, store: Store) -> None:
        run = new(tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE)
        answers = [(await store.claims.begin(run, Overlap.SKIP, name, LEASE)).answer for name in ("s1", "s2")]
        assert answers == [Answer.RUN, Answer.DUPLICATE]
        assert await next_in(store) is None


def fire(minute: int, job: str = "backup", **fields: object) -> NewRun:
    at = datetime(2026, 3, 1, 2, minute, tzinfo=UTC)
    return new(job, id=fire_id("t", job, at), cause=Cause.SCHEDULE, scheduled_for=at, **fields)


class TestOverlap:
    async def test_skip_skips_a_fire(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await claim(store, first, overlap=Overlap.SKIP)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.SETTLED
        row = await state(store, second.run)
        assert (row.verdict, row.reason) == (Verdict.SKIPPED, "overlap")

    async def test_skip_lets_what_was_asked_for_wait(self, store: Store) -> None:
        first, second = await send(store, new(), new())
        held = await claim(store, first, overlap=Overlap.SKIP)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.LATER
        assert await taken(store) == []
        await settle(store, held)
        assert [message.run for message in await taken(store)] == [second.run]

    async def test_a_waiting_fire_gives_way_to_a_newer_one(self, store: Store) -> None:
        first, second, third = await send(store, fire(0), fire(1), fire(2))
        await claim(store, first, overlap=Overlap.QUEUE)
        await claim(store, second, overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST)
        assert (await claim(store, third, overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST)).answer is Answer.LATER
        row = await state(store, second.run)
        assert (row.verdict, row.reason) == (Verdict.MISSED, "superseded")

    async def test_cancel_other_reaches_the_worker_with_its_renewal(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        held = await claim(store, first, overlap=Overlap.CANCEL_OTHER)
        assert (await claim(store, second, overlap=Overlap.CANCEL_OTHER)).answer is Answer.LATER
        assert store.claims.renew([held], LEASE) == [Hold.OVERLAP]
        await settle(store, held, Verdict.CANCELLED, reason="overlap")
        [again] = await taken(store)
        assert (await claim(store, again, overlap=Overlap.CANCEL_OTHER)).answer is Answer.RUN

    async def test_waiting_for_a_retry_counts_as_running(self, store: Store) -> None:
        first, second = await send(store, fire(0), fire(1))
        await settle(store, await claim(store, first, overlap=Overlap.SKIP), None, retry_after=LEASE)
        assert (await claim(store, second, overlap=Overlap.SKIP)).answer is Answer.SETTLED

    async def test_allow_runs_both(self, store: Store) -> None:
        messages = await send(store, fire(0), fire(1))
        assert [(await claim(store, message)).answer for message in messages] == [Answer.RUN, Answer.RUN]


async def advance(
    store: Store, cursor: Cursor, to: datetime, runs: list[NewRun], next_fire: datetime | None = None
) -> bool:
    [done] = await store.cursors.advance([Advance(cursor=cursor, to=to, next_fire=next_fire, runs=runs)])
    return done


class TestCursors:
    async def declare(
        self, store: Store, revision: int = 1, fingerprint: str = "f1", job: str = "backup"
    ) -> dict[str, str]:
        now = (await store.now()).replace(microsecond=0)
        declared = Declared(job=job, fingerprint=fingerprint, next_after_now=now)
        return await store.cursors.declare([declared], revision)

    async def test_a_new_job_starts_when_first_seen(self, store: Store) -> None:
        before = await store.now()
        assert await self.declare(store) == {}
        [cursor] = (await store.cursors.due(10)).cursors
        assert before - timedelta(milliseconds=1) <= cursor.at <= await store.now()

    async def test_a_fire_is_written_once_however_many_sidecars(self, store: Store) -> None:
        await self.declare(store)
        [cursor] = (await store.cursors.due(10)).cursors
        to = cursor.at
        assert await advance(store, cursor, to, [fire(0)], to + timedelta(days=1))
        assert len(await taken(store)) == 1
        assert (await store.cursors.due(10)).cursors == []

    async def test_an_old_cursor_advances_nothing(self, store: Store) -> None:
        await self.declare(store)
        [cursor] = (await store.cursors.due(10)).cursors
        later = type(cursor)(job=cursor.job, fingerprint=cursor.fingerprint, at=cursor.at - timedelta(seconds=1))
        assert not await advance(store, later, cursor.at, [fire(0)])
        assert await next_in(store) is None

    async def test_a_fire_in_the_future_is_refused(self, store: Store) -> None:
        await self.declare(store)
        [cursor] = (await store.cursors.due(10)).cursors
        assert not await advance(store, cursor, await store.now() + LEASE, [fire(0)])

    async def test_missed_fires_are_settled_as_they_are_written(self, store: Store) -> None:
        await self.declare(store)
        [cursor] = (await store.cursors.due(10)).cursors
        missed = fire(0, verdict=Verdict.MISSED, reason="superseded")
        assert await advance(store, cursor, cursor.at, [missed, fire(1)])
        assert (await state(store, missed.id)).verdict is Verdict.MISSED
        assert len(await taken(store)) == 1

    async def test_an_unchanged_job_keeps_its_cursor(self, store: Store) -> None:
        await self.declare(store)
        first = (await store.cursors.due(10)).cursors
        await self.declare(store, revision=2)
        assert (await store.cursors.due(10)).cursors == first

    async def test_an_older_revision_stands_aside(self, store: Store) -> None:
        await self.declare(store, revision=5, fingerprint="new")
        assert await self.declare(store, revision=4, fingerprint="old") == {"backup": "a newer revision is in force"}
        assert await self.declare(store, revision=4, fingerprint="new") == {}
        assert [cursor.fingerprint for cursor in (await store.cursors.due(10)).cursors] == ["new"]

    async def test_a_removed_job_is_forgotten_by_a_newer_revision_only(self, store: Store) -> None:
        await self.declare(store, revision=5)
        await store.cursors.declare([], 5)
        assert len((await store.cursors.due(10)).cursors) == 1
        await store.cursors.declare([], 6)
        assert (await store.cursors.due(10)).cursors == []


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
        assert (latest.newest.id, latest.settled.id) == (second.run, first.run)

    async def test_what_another_scheduler_ran_is_recorded_once_settled_for_good(self, store: Store) -> None:
        at = datetime(2026, 3, 1, tzinfo=UTC)
        run = Run(
            id=new_run_id(), job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.RUNNING,
            scheduled_for=at,
            started_at=at, attempts=1,
        )  # fmt: skip
        await store.ledger.record([run])
        assert (await state(store, run.id)).state is State.RUNNING
        ended = Run(
            id=run.id, job="sweep", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=State.RAN, scheduled_for=at,
            started_at=at, ended_at=at + LEASE, attempts=1,
        )  # fmt: skip
        await store.ledger.record([ended])
        await store.ledger.record([run])
        row = await state(store, run.id)
        assert (row.verdict, row.duration_seconds) == (Verdict.RAN, 30)

    async def test_only_the_last_few_are_kept_where_asked(self, store: Store) -> None:
        for minute in range(5):
            run = Run(
                id=new_run_id(), job="beat", tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE, state=State.RAN,
                scheduled_for=datetime(2026, 3, 1, 2, minute, tzinfo=UTC),
            )  # fmt: skip
            await store.ledger.record([run], keep=3)
        assert len(await store.ledger.runs(job="beat")) == 3

    async def test_a_story_tells_a_run_in_order(self, store: Store) -> None:
        [message] = await send(store, new())
        await settle(store, await claim(store, message, "w7"))
        story = (await state(store, message.run)).story
        assert [event.what for event in story] == ["accepted", "published", "claimed", "settled"]
        assert story[2].note == "w7"

    async def test_logs_are_kept_in_order(self, store: Store) -> None:
        run = new()
        await store.outbox.accept([run])
        await store.ledger.append_log(run.id, ["one", "two"])
        await store.ledger.append_log(run.id, ["three"])
        assert await store.ledger.log(run.id) == ["one", "two", "three"]


async def test_a_body_that_is_no_message_is_kept(store: Store) -> None:
    await store.dead_letters.bury(b"\xff{", "not JSON")
    [letter] = await store.dead_letters.newest()
    assert (letter.message, letter.reason) == (None, "not JSON")


async def died(store: Store, *runs: NewRun) -> list[str]:
    """Runs that failed for good; their ids."""
    for message in await send(store, *runs):
        failure = Failure(type="OSError", message="disk full", traceback="…")
        await settle(store, await claim(store, message), Verdict.FAILED, reason="raised", failure=failure)
    return [run.id for run in runs]


class TestQuestions:
    async def test_only_some_states_causes_and_tiers(self, store: Store) -> None:
        [failed] = await died(store, new())
        fired, waits = fire(0), new(cause=Cause.MANUAL, tier=Tier.APSCHEDULER)
        await store.outbox.accept([fired, waits])

        async def found(**only: set[object]) -> set[str]:
            chosen = Only(**{key: frozenset(values) for key, values in only.items()})  # type: ignore[arg-type]
            return {run.id for run in await store.ledger.runs(only=chosen)}

        assert await found(states={State.FAILED}) == {failed}
        assert await found(states={State.PENDING, State.QUEUED}) == {fired.id, waits.id}
        assert await found(causes={Cause.SCHEDULE, Cause.MANUAL}) == {fired.id, waits.id}
        assert await found(tiers={Tier.APSCHEDULER}) == {waits.id}
        assert await found(states={State.FAILED}, causes={Cause.MANUAL}) == set()
        assert await found(states={State.FAILED}, causes={Cause.ENQUEUE}, tiers={Tier.ONEIRIC}) == {failed}

    async def test_a_rare_one_is_found_however_many_are_newer(self, store: Store) -> None:
        [failed] = await died(store, new())
        later = await store.now() + timedelta(hours=1)
        await store.outbox.accept([new(id=f"r{n}", due=later) for n in range(1100)])
        only = Only(states=frozenset({State.FAILED}))
        assert [run.id for run in await store.ledger.runs(only=only, limit=3)] == [failed]
        assert len(await store.ledger.runs(only=Only(causes=frozenset({Cause.ENQUEUE})), limit=600)) == 600

    async def test_bounds_are_inclusive(self, store: Store) -> None:
        await store.outbox.accept([fire(minute) for minute in range(4)])
        first, last = (datetime(2026, 3, 1, 2, minute, tzinfo=UTC) for minute in (1, 2))
        runs = await store.ledger.runs(since=first, until=last, only=Only(causes=frozenset({Cause.SCHEDULE})))
        assert [run.scheduled_for for run in runs] == [last, first]

    async def test_ids_are_those_of_the_runs_in_their_order(self, store: Store) -> None:
        await store.outbox.accept([fire(0), fire(5, job="other"), fire(1)])
        since = datetime(2026, 3, 1, 2, 1, tzinfo=UTC)
        for asked in ({}, {"job": "backup"}, {"since": since}, {"limit": 1}):
            assert await store.ledger.ids(**asked) == [run.id for run in await store.ledger.runs(**asked)]

    async def test_many_come_in_the_order_asked_for(self, store: Store) -> None:
        runs = [new(), new(), new()]
        await store.outbox.accept(runs)
        asked = [runs[2].id, "unknown", runs[0].id]
        assert [run.id for run in await store.ledger.many(asked)] == [runs[2].id, runs[0].id]
        assert await store.ledger.many([]) == []

    async def test_an_id_is_found_by_its_beginning_and_its_end(self, store: Store) -> None:
        await store.outbox.accept([new(id=id) for id in ("aaaa-1111-zzzz", "aaaa-2222-zzzz", "bbbb-aaaa-1111")])
        assert await store.ledger.find("aaaa-1", 9) == ["aaaa-1111-zzzz"]
        assert set(await store.ledger.find("aaaa", 9)) == {"aaaa-1111-zzzz", "aaaa-2222-zzzz"}
        assert set(await store.ledger.find("zzzz", 9)) == {"aaaa-1111-zzzz", "aaaa-2222-zzzz"}
        assert len(await store.ledger.find("zzzz", 1)) == 1
        assert await store.ledger.find("2222", 9) == []


class TestDeadLetters:
    async def test_every_one_comes_oldest_first_or_those_asked_for(self, store: Store) -> None:
        first, other, last = await died(store, new(), new("other"), new())
        letters = store.dead_letters
        assert [one.run async for one in letters.every()] == [first, other, last]
        assert [one.run async for one in letters.every("backup")] == [first, last]
        assert [one.run async for one in letters.every(runs=[last, "unknown", first])] == [last, first]
        await letters.drop([first])
        assert [one.run async for one in letters.every()] == [other, last]

    async def test_a_letter_keeps_its_lane(self, store: Store) -> None:
        [run] = await died(store, new(lane=Lane.HIGH))
        letter = await store.dead_letters.get(run)
        assert letter
        assert letter.message
        assert letter.message.lane is Lane.HIGH

    async def test_a_letter_goes_in_the_step_that_accepts_its_replay(self, store: Store) -> None:
        [run] = await died(store, new())
        replay = new(id=replay_id(run), cause=Cause.REPLAY, replays=run, metadata={"replays": run})
        assert [one.new for one in await store.outbox.accept([replay, replay])] == [True, False]
        assert await store.dead_letters.get(run) is None
        old, row = await state(store, run), await state(store, replay.id)
        assert (old.replayed_as, old.verdict) == (replay.id, Verdict.FAILED)
        assert (row.replays, row.story[0].note) == (run, f"replay of {run}")

    async def test_a_letter_stays_while_another_run_has_the_uniqueness_key(self, store: Store) -> None:
        [run] = await died(store, new())
        holder = new(unique="k")
        await store.outbox.accept([holder])
        [answer] = await store.outbox.accept([new(cause=Cause.REPLAY, replays=run, unique="k")])
        assert (answer.run, answer.new) == (holder.id, False)
        assert await store.dead_letters.get(run)


async def test_a_wish_to_cancel_outlives_the_attempt_that_did_not_hear_of_it(store: Store) -> None:
    retried, handed_back, lapsed = [await claim(store, message) for message in await send(store, new(), new(), new())]
    for held in (retried, handed_back, lapsed):
        assert await store.claims.cancel(held.message.run) is Cancelled.ASKED
    assert await settle(store, retried, None, retry_after=NONE, reason="raised")
    assert await settle(store, handed_back, None, reason="draining")
    assert store.claims.renew([lapsed], NONE) == [Hold.REQUESTED]
    [swept] = await store.claims.sweep(10)
    assert swept.verdict is Verdict.CANCELLED
    for held in (retried, handed_back, lapsed):
        row = await state(store, held.message.run)
        assert (row.verdict, row.reason) == (Verdict.CANCELLED, "requested")
    assert await next_in(store) is None
