"""Cursors: each fire enters the outbox once."""

from dataclasses import replace
from datetime import datetime, timedelta

from horae.reasons import Reason
from horae.runs import Verdict
from horae.store import Store
from horae.store.values import Advance, Cursor, Declared, InForce, NewRun, Watched
from tests.contract.stores import LEASE, MILLI, NONE, T0, Clock, fire, next_in, state, taken


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
        missed = fire(0, verdict=Verdict.MISSED, reason=Reason.SUPERSEDED)
        assert await advance(store, cursor, cursor.at, [missed, fire(1)])
        assert (await state(store, missed.run_id)).verdict is Verdict.MISSED
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

    async def test_a_lost_cursor_goes_on_from_what_its_sidecar_saw(self, store: Store) -> None:
        now = (await store.now()).replace(microsecond=0)
        seen, following = now - timedelta(hours=2), now - timedelta(hours=1)
        declared = Declared(
            job="backup", fingerprint="f1", next_after_now=now + LEASE, since=seen, next_after_since=following
        )
        await store.cursors.declare([declared], 1)
        assert (await store.cursors.due(10)).cursors == [Cursor(job="backup", fingerprint="f1", at=seen)]
        again = replace(declared, since=now, next_after_since=now)
        await store.cursors.declare([again], 2)
        assert (await store.cursors.due(10)).cursors == [Cursor(job="backup", fingerprint="f1", at=seen)], "not lost"
        await store.cursors.declare([replace(again, fingerprint="f2")], 3)
        assert (await store.cursors.due(10)).cursors == [], "an edit takes effect from now"

    async def test_a_removed_job_is_forgotten_by_a_newer_revision_only(self, store: Store) -> None:
        await self.declare(store, revision=5)
        await store.cursors.declare([], 5)
        assert len((await store.cursors.due(10)).cursors) == 1
        await store.cursors.declare([], 6)
        assert (await store.cursors.due(10)).cursors == []


class TestClockAndDefinitions:
    async def declare(self, store: Store, at: datetime, fingerprint: str = "f1", revision: int = 1) -> dict[str, str]:
        """A declaration with its next fire at that instant."""
        return await store.cursors.declare(
            [Declared(job="backup", fingerprint=fingerprint, next_after_now=at)], revision
        )

    async def cursor(self, store: Store) -> Cursor:
        [cursor] = (await store.cursors.due(10)).cursors
        return cursor

    async def test_a_job_is_due_at_its_fire_and_not_before(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0 + LEASE)
        clock.move(LEASE - MILLI)
        before = await steered.cursors.due(10)
        assert (before.cursors, before.next_in, before.now) == ([], MILLI, clock())
        clock.move(MILLI)
        assert (await self.cursor(steered)).at == T0

    async def test_the_longest_overdue_come_first(self, steered: Store, clock: Clock) -> None:
        jobs = {"a": 3, "b": 1, "c": 2, "d": 9}
        declared = [
            Declared(job=job, fingerprint="f", next_after_now=T0 + timedelta(seconds=after))
            for job, after in jobs.items()
        ]
        await steered.cursors.declare(declared, 1)
        clock.move(timedelta(seconds=5))
        due = await steered.cursors.due(2)
        assert [cursor.job for cursor in due.cursors] == ["b", "c"]
        assert due.next_in == NONE, "there is more to do at once"
        assert (await steered.cursors.due(3)).next_in == timedelta(seconds=4)

    async def test_a_cursor_never_goes_back(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0)
        clock.move(LEASE)
        assert await advance(steered, await self.cursor(steered), clock(), [fire(0)], T0)
        ahead = await self.cursor(steered)
        clock.move(-MILLI)
        assert not await advance(steered, ahead, clock(), [], T0)
        assert await self.cursor(steered) == ahead

    async def test_of_two_that_advance_one_cursor_one_does(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0)
        clock.move(LEASE)
        cursor = await self.cursor(steered)
        both = [Advance(cursor=cursor, to=clock(), next_fire=None, runs=[fire(0)]) for _ in range(2)]
        assert await steered.cursors.advance(both) == [True, False]
        assert len(await steered.ledger.runs()) == 1

    async def test_an_edit_goes_on_from_where_the_cursor_is_if_the_clock_stepped_back(
        self, steered: Store, clock: Clock
    ) -> None:
        await self.declare(steered, T0)
        clock.move(LEASE)
        await advance(steered, await self.cursor(steered), clock(), [fire(0)], T0)
        clock.move(-LEASE)
        await self.declare(steered, T0, "f2", revision=2)
        assert (await self.cursor(steered)).at == T0 + LEASE

    async def test_an_edit_goes_on_from_now(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0)
        clock.move(LEASE)
        assert await self.declare(steered, clock(), "f2", revision=2) == {}
        assert await self.cursor(steered) == Cursor(job="backup", fingerprint="f2", at=clock())

    async def test_an_edit_of_the_same_revision_stands_aside(self, steered: Store) -> None:
        await self.declare(steered, T0, revision=2)
        aside = await self.declare(steered, T0, "f2", revision=2)
        assert aside == {"backup": "another definition has the same revision"}
        assert (await self.cursor(steered)).fingerprint == "f1"

    async def test_an_edit_voids_what_an_older_sidecar_was_about_to_write(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0)
        clock.move(LEASE)
        old = await self.cursor(steered)
        await self.declare(steered, clock(), "f2", revision=2)
        assert not await advance(steered, old, clock(), [fire(0)])
        assert await steered.ledger.runs() == []

    async def test_a_job_that_never_fires_again_is_not_due(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0)
        assert await advance(steered, await self.cursor(steered), T0, [fire(0)], None)
        clock.move(timedelta(days=400))
        due = await steered.cursors.due(10)
        assert (due.cursors, due.next_in) == ([], None)

    async def test_a_removed_job_that_comes_back_is_new(self, steered: Store, clock: Clock) -> None:
        await self.declare(steered, T0, revision=1)
        await steered.cursors.declare([], 2)
        clock.move(LEASE)
        await self.declare(steered, clock(), revision=3)
        assert (await self.cursor(steered)).at == clock()

    async def test_what_is_in_the_outbox_runs_though_its_job_is_removed(self, steered: Store) -> None:
        await self.declare(steered, T0, revision=1)
        await advance(steered, await self.cursor(steered), T0, [fire(0)], None)
        await steered.cursors.declare([], 2)
        assert [message.run_id for message in await taken(steered)] == [fire(0).run_id]

    async def test_more_jobs_than_one_call_takes(self, steered: Store) -> None:
        declared = [Declared(job=f"job-{n}", fingerprint="f", next_after_now=T0) for n in range(1200)]
        await steered.cursors.declare(declared, 1)
        cursors = (await steered.cursors.due(2000)).cursors
        assert len(cursors) == 1200
        advances = [Advance(cursor=one, to=T0, next_fire=None, runs=[fire(0, one.job)]) for one in cursors]
        assert await steered.cursors.advance(advances) == [True] * 1200
        await steered.cursors.declare([], 2)
        assert len(await steered.ledger.runs(limit=2000)) == 1200


class TestInForce:
    async def test_what_was_declared(self, steered: Store) -> None:
        declared = Declared(
            job="backup",
            fingerprint="f1",
            next_after_now=T0 + LEASE,
            schedule="every 6s",
            offset=timedelta(milliseconds=250),
        )
        await steered.cursors.declare([declared], 3)
        expected = InForce(
            fingerprint="f1",
            revision=3,
            cursor=T0,
            next_fire=T0 + LEASE,
            schedule="every 6s",
            offset=timedelta(milliseconds=250),
        )
        assert await steered.cursors.in_force(["other", "backup"]) == {"backup": expected}

    async def test_of_nothing(self, steered: Store) -> None:
        assert await steered.cursors.in_force([]) == {}


class TestWatch:
    async def test_from_the_first_sight_on(self, steered: Store, clock: Clock) -> None:
        one = Watched(job="beat", fingerprint="f1")
        assert await steered.cursors.watch([one], 1) == {"beat": T0}
        clock.move(LEASE)
        assert await steered.cursors.watch([one], 1) == {"beat": T0}
        await steered.cursors.account([one], T0 + LEASE / 2)
        assert await steered.cursors.watch([one], 1) == {"beat": T0 + LEASE / 2}
        await steered.cursors.account([one], T0)
        assert await steered.cursors.watch([one], 1) == {"beat": T0 + LEASE / 2}, "it never goes back"

    async def test_another_definition_begins_anew_and_an_older_one_stands_aside(
        self, steered: Store, clock: Clock
    ) -> None:
        old, new = Watched(job="beat", fingerprint="f1"), Watched(job="beat", fingerprint="f2")
        await steered.cursors.watch([old], 1)
        clock.move(LEASE)
        assert await steered.cursors.watch([new], 2) == {"beat": T0 + LEASE}
        assert await steered.cursors.watch([old], 1) == {}
        await steered.cursors.account([old], T0 + 2 * LEASE)
        assert await steered.cursors.watch([new], 2) == {"beat": T0 + LEASE}
