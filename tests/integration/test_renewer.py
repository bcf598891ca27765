"""A worker that claims a run again, while it still has an attempt on it whose lease it lost."""

import asyncio
from datetime import timedelta

from horae.clock import monotonic
from horae.execution.renewer import ThreadRenewer
from horae.execution.runner import Active
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.runs import Cause, new_run_id
from horae.store.values import Answer, Claim, NewRun, Policy, Stop, Wanted
from tests.model import ModelStore
from tests.waiting import wait_until

LEASE = timedelta(seconds=0.3)
JOB = Job(name="work", tier=Tier.ONEIRIC)
POLICY = Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.ALL, catch_up_window=timedelta(days=1))


async def claimed(store: ModelStore, lease: timedelta) -> Claim:
    [due] = (await store.outbox.take([""], 10, LEASE)).entries
    [claim] = await store.claims.claim([Wanted(message=due.message, policy=POLICY)], "w1", lease)
    assert claim.answer is Answer.RUN
    return claim


async def twice_claimed(store: ModelStore) -> tuple[Active, Active]:
    """The attempt that is lost, and the one that replaces it on the same worker."""
    await store.outbox.accept([NewRun(run_id=new_run_id(), job="work", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE)])
    lost = await claimed(store, timedelta(milliseconds=1))
    await wait_until(lambda: store.claims.sweep(10), "the lease to run out")
    return Active(claim=lost, job=JOB), Active(claim=await claimed(store, LEASE), job=JOB)


async def test_the_end_of_a_lost_attempt_leaves_the_lease_of_the_next_alone() -> None:
    store = ModelStore("t")
    lost, present = await twice_claimed(store)
    async with ThreadRenewer(store.claims, LEASE) as renewer:
        renewer.hold(lost)
        renewer.hold(present)
        renewer.drop(lost)
        until = monotonic() + 2 * LEASE.total_seconds()
        await wait_until(lambda: monotonic() > until, "two leases to pass")
        assert await store.claims.sweep(10) == []


async def test_a_lost_attempt_is_told_although_the_run_is_here_again() -> None:
    store = ModelStore("t")
    lost, present = await twice_claimed(store)
    lost.body = present.body = asyncio.create_task(asyncio.Event().wait())
    async with ThreadRenewer(store.claims, LEASE) as renewer:
        renewer.hold(lost)
        renewer.hold(present)
        await wait_until(lambda: lost.stop, "the lost attempt to be told")
    assert (lost.stop, present.stop) == (Stop.LEASE_LOST, None)
    await asyncio.gather(lost.body, return_exceptions=True)
