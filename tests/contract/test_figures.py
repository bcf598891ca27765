"""Figures and notices of the store, on the model and on a real Valkey."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Cause, Run, State, Verdict, new_run_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.values import Claim, Figures, Happening, NewRun, Policy, Settlement, Wanted
from tests.contract.stores import pruned
from tests.waiting import wait_until

LEASE, NONE = timedelta(seconds=30), timedelta(0)
T0 = datetime(2026, 3, 1, tzinfo=UTC)
LATE, FAILED, MISSED = Happening.LATE, Happening.FAILED, Happening.MISSED


@pytest.fixture(params=["model", "valkey"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    namespace = f"t{uuid.uuid4().hex[:12]}"
    if request.param == "model":
        from tests.model import ModelStore

        yield ModelStore(namespace)
        return
    from horae.store.redis import RedisStore

    opened = RedisStore(request.getfixturevalue("valkey_url"), namespace, StoreSettings())
    yield opened
    await opened.close()


async def accept(store: Store, count: int = 1, **fields: object) -> list[NewRun]:
    given: dict[str, object] = {"job": "backup", "tier": Tier.ONEIRIC, "cause": Cause.ENQUEUE}
    runs = [NewRun(run_id=new_run_id(), **(given | fields)) for _ in range(count)]  # type: ignore[arg-type]
    await store.outbox.accept(runs)
    return runs


async def sent(store: Store, count: int = 1) -> list[Message]:
    messages = [run.message for run in await accept(store, count)]
    await store.outbox.published(messages)
    return messages


async def claim(store: Store, message: Message, overlap: Overlap = Overlap.ALLOW) -> Claim:
    policy = Policy(overlap=overlap, catch_up=CatchUp.ALL, catch_up_window=timedelta(days=36_500))
    return (await store.claims.claim([Wanted(message=message, policy=policy)], "w1", LEASE))[0]


def flow_run(state: State, **fields: object) -> Run:
    given: dict[str, object] = {"run_id": new_run_id(), "job": "sweep", "tier": Tier.PREFECT, "cause": Cause.SCHEDULE}
    return Run(state=state, **(given | {"scheduled_for": T0} | fields))  # type: ignore[arg-type]


async def test_an_empty_store_says_nothing_but_zeros(store: Store) -> None:
    assert await store.ledger.figures() == Figures(
        settled={}, noticed={}, overdue=NONE, outbox=0, waiting=0, running=0, dead_letters=0
    )


async def test_what_waits_what_runs_and_what_ended_is_counted(store: Store) -> None:
    first, second, third, fourth = await sent(store, 4)
    held = await claim(store, first)
    await claim(store, second)
    await claim(store, third, Overlap.QUEUE)
    found = await store.ledger.figures()
    assert (found.running, found.waiting, found.outbox, found.dead_letters) == (2, 1, 0, 0)
    await store.claims.settle([Settlement(claim=held, verdict=Verdict.FAILED, reason=Reason.RAISED)])
    await store.claims.settle([Settlement(claim=await claim(store, fourth), verdict=Verdict.RAN)])
    found = await store.ledger.figures()
    assert found.settled == {("backup", Verdict.FAILED): 1, ("backup", Verdict.RAN): 1}
    assert (found.running, found.dead_letters, found.noticed) == (1, 1, {("backup", FAILED): 1})


async def test_the_outbox_tells_how_long_the_first_entry_has_been_due(store: Store) -> None:
    await accept(store, due=await store.now() + timedelta(hours=1))
    found = await store.ledger.figures()
    assert (found.outbox, found.overdue) == (1, NONE)
    await accept(store)

    async def overdue() -> bool:
        return (await store.ledger.figures()).overdue >= timedelta(milliseconds=20)

    await wait_until(overdue, "the second entry to be overdue")


async def test_notices_are_counted_once_however_often_they_are_handed_out(store: Store) -> None:
    await store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON", "backup")
    taken = await store.notices.take(10)
    await store.notices.put_back(taken)
    assert await store.notices.take(10) == taken
    assert (await store.ledger.figures()).noticed == {("backup", FAILED): 1}


async def test_another_schedulers_run_that_began_late_is_noticed_once(store: Store) -> None:
    began = T0 + timedelta(seconds=61)
    running = flow_run(State.RUNNING, started_at=began)
    await store.ledger.record([flow_run(State.QUEUED, run_id=running.run_id)])
    await store.ledger.record([running])
    await store.ledger.record([running])
    ended = flow_run(State.RAN, run_id=running.run_id, started_at=began, ended_at=began + LEASE)
    await store.ledger.record(
        [ended, ended, flow_run(State.RAN, started_at=T0 + timedelta(seconds=60), ended_at=began)]
    )
    [notice] = await store.notices.take(10)
    assert (notice.what, notice.run_id, notice.scheduled_for, notice.note) == (LATE, running.run_id, T0, "61 s late")


async def test_another_schedulers_missed_run_is_noticed(store: Store) -> None:
    await store.ledger.record([flow_run(State.MISSED, reason=Reason.NOT_STARTED)])
    [notice] = await store.notices.take(10)
    assert (notice.what, notice.job, notice.reason) == (MISSED, "sweep", "not started")


async def test_what_the_ledger_let_go_is_not_recorded_and_counted_again(valkey_url: str, namespace: str) -> None:
    from horae.store.redis import RedisStore

    store = RedisStore(valkey_url, namespace, StoreSettings(keep_runs_per_job=10))
    try:
        runs = [
            flow_run(State.FAILED, scheduled_for=T0 + i * LEASE, started_at=T0 + i * LEASE, ended_at=T0 + i * LEASE)
            for i in range(12)
        ]
        for run in runs:
            await store.ledger.record([run])
        await pruned(store)
        kept = await store.ledger.runs(job="sweep")
        assert [run.run_id for run in kept] == [run.run_id for run in reversed(runs[2:])]
        await store.ledger.record(runs)
        assert (await store.ledger.figures()).settled == {("sweep", Verdict.FAILED): 12}
        assert [run.run_id for run in await store.ledger.runs(job="sweep")] == [run.run_id for run in kept]
        assert len(await store.notices.take(100)) == 12
    finally:
        await store.close()


async def test_a_flows_name_may_hold_any_character(store: Store) -> None:
    """Prefect allows `|` in the names of flows and deployments, which also separates the parts of a counter's field."""
    names = ["a|b/c", "a/b|failed", "100%7C/x", "a%25/b: c"]
    await store.ledger.record([flow_run(State.FAILED, job=name) for name in names])
    found = await store.ledger.figures()
    assert {
        job: count for (job, verdict), count in found.settled.items() if verdict is Verdict.FAILED
    } == dict.fromkeys(names, 1)
    assert {job for (job, what) in found.noticed if what is FAILED} == set(names)
    assert [run.job for run in await store.ledger.runs(job="a|b/c")] == ["a|b/c"]
