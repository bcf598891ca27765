"""Following the ledger: each change once, whatever came before."""

from datetime import timedelta

import pytest

from horae.cli import following as module
from horae.cli.following import Following
from horae.jobs.policies import Tier
from horae.runs import Cause, State, Verdict, new_run_id
from horae.store.values import Claim, NewRun, Only, Policy, Settlement, Wanted
from tests.model import ModelStore

LEASE = timedelta(seconds=30)


async def accept(store: ModelStore, job: str = "backup") -> str:
    run = NewRun(run_id=new_run_id(), job=job, tier=Tier.ONEIRIC, cause=Cause.ENQUEUE)
    await store.outbox.accept([run])
    return run.run_id


async def begin(store: ModelStore) -> Claim:
    entries = (await store.outbox.take([""], 1, LEASE)).entries
    [claim] = await store.claims.claim([Wanted(message=entries[0].message, policy=Policy())], "w1", LEASE)
    return claim


async def end(store: ModelStore, claim: Claim, verdict: Verdict = Verdict.RAN) -> None:
    await store.claims.settle([Settlement(claim=claim, verdict=verdict)])


async def told(following: Following) -> list[tuple[str, str]]:
    return [(run.run_id, run.state.value) for run in await following.changes()]


async def test_each_change_is_told_once() -> None:
    store = ModelStore()
    settled = await accept(store)
    await end(store, await begin(store))
    old = await accept(store)
    following = Following(store.ledger, None, None, Only())
    await following.begin()
    assert await told(following) == []
    new = await accept(store)
    assert await told(following) == [(new, "pending")]
    claim = await begin(store)
    assert await told(following) == [(old, "running")]
    await end(store, claim)
    assert await told(following) == [(old, "ran")]
    assert await told(following) == []
    assert settled


async def test_only_what_is_asked_for_is_told() -> None:
    store = ModelStore()
    following = Following(store.ledger, "backup", None, Only(states=frozenset({State.FAILED})))
    await following.begin()
    await accept(store, "other")
    await end(store, await begin(store), Verdict.FAILED)
    run = await accept(store)
    assert await told(following) == []
    await end(store, await begin(store), Verdict.FAILED)
    assert await told(following) == [(run, "failed")]


async def test_an_unsettled_run_is_followed_however_many_are_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 2)
    store = ModelStore()
    old = await accept(store)
    claim = await begin(store)
    for _ in range(5):
        await accept(store, "other")
        await end(store, await begin(store))
    following = Following(store.ledger, None, None, Only())
    await following.begin()
    await end(store, claim)
    assert await told(following) == [(old, "ran")]
