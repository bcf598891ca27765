"""Queries of the ledger: by state, cause, tier, age, id and part of an id."""

from datetime import UTC, datetime, timedelta

from horae.jobs.policies import Tier
from horae.runs import Cause, State
from horae.store import Store
from horae.store.values import Only
from tests.contract.stores import died, fire, new


class TestQuestions:
    async def test_only_some_states_causes_and_tiers(self, store: Store) -> None:
        [failed] = await died(store, new())
        fired, waits = fire(0), new(cause=Cause.MANUAL, tier=Tier.APSCHEDULER)
        await store.outbox.accept([fired, waits])

        async def found(**only: set[object]) -> set[str]:
            chosen = Only(**{key: frozenset(values) for key, values in only.items()})  # type: ignore[arg-type]
            return {run.run_id for run in await store.ledger.runs(only=chosen)}

        assert await found(states={State.FAILED}) == {failed}
        assert await found(states={State.PENDING, State.QUEUED}) == {fired.run_id, waits.run_id}
        assert await found(causes={Cause.SCHEDULE, Cause.MANUAL}) == {fired.run_id, waits.run_id}
        assert await found(tiers={Tier.APSCHEDULER}) == {waits.run_id}
        assert await found(states={State.FAILED}, causes={Cause.MANUAL}) == set()
        assert await found(states={State.FAILED}, causes={Cause.ENQUEUE}, tiers={Tier.ONEIRIC}) == {failed}

    async def test_a_rare_one_is_found_however_many_are_newer(self, store: Store) -> None:
        [failed] = await died(store, new())
        later = await store.now() + timedelta(hours=1)
        await store.outbox.accept([new(run_id=f"r{n}", due=later) for n in range(1100)])
        only = Only(states=frozenset({State.FAILED}))
        assert [run.run_id for run in await store.ledger.runs(only=only, limit=3)] == [failed]
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
            assert await store.ledger.ids(**asked) == [run.run_id for run in await store.ledger.runs(**asked)]

    async def test_many_come_in_the_order_asked_for(self, store: Store) -> None:
        runs = [new(), new(), new()]
        await store.outbox.accept(runs)
        asked = [runs[2].run_id, "unknown", runs[0].run_id]
        assert [run.run_id for run in await store.ledger.many(asked)] == [runs[2].run_id, runs[0].run_id]
        assert await store.ledger.many([]) == []

    async def test_an_id_is_found_by_its_beginning_and_its_end(self, store: Store) -> None:
        await store.outbox.accept([new(run_id=id) for id in ("aaaa-1111-zzzz", "aaaa-2222-zzzz", "bbbb-aaaa-1111")])
        assert await store.ledger.find("aaaa-1", 9) == ["aaaa-1111-zzzz"]
        assert set(await store.ledger.find("aaaa", 9)) == {"aaaa-1111-zzzz", "aaaa-2222-zzzz"}
        assert set(await store.ledger.find("zzzz", 9)) == {"aaaa-1111-zzzz", "aaaa-2222-zzzz"}
        assert len(await store.ledger.find("zzzz", 1)) == 1
        assert await store.ledger.find("2222", 9) == []
