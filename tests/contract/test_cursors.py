"""Each fire enters the outbox once, by the cursor of its job."""

from datetime import datetime, timedelta

from horae.runs import Verdict
from horae.store import Store
from horae.store.values import Advance, Cursor, Declared, NewRun
from tests.contract.stores import LEASE, fire, next_in, state, taken


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
