"""A fire that was begun is not one that waits: when its worker dies, its job's policies may not settle it unrun."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message
from horae.runs import Cause, Verdict, fire_id
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import Answer, Claim, NewRun, Policy, Wanted
from tests.waiting import wait_until

LEASE, SHORT = timedelta(seconds=30), timedelta(milliseconds=1)


@pytest.fixture
async def store(valkey_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(valkey_url, namespace, StoreSettings())
    yield opened
    await opened.close()


async def fire(store: RedisStore, seconds_ago: int) -> Message:
    at = (await store.now()).replace(microsecond=0) - timedelta(seconds=seconds_ago)
    id = fire_id(store.namespace, "alone", at)
    new = NewRun(run_id=id, job="alone", tier=Tier.ONEIRIC, cause=Cause.SCHEDULE, scheduled_for=at)
    await store.outbox.accept([new])
    [due] = (await store.outbox.take([""], 10, LEASE)).entries
    await store.outbox.published([due.message])
    return due.message


async def claim(store: RedisStore, message: Message, lease: timedelta, overlap: Overlap) -> Claim:
    policy = Policy(overlap=overlap, catch_up=CatchUp.LATEST, catch_up_window=timedelta(days=1))
    [answer] = await store.claims.claim([Wanted(message=message, policy=policy)], "w1", lease)
    return answer


async def interrupted(store: RedisStore, overlap: Overlap) -> Message:
    """A fire whose worker died with it, handed out again."""
    first = await fire(store, 3)
    assert (await claim(store, first, SHORT, overlap)).answer is Answer.RUN
    await wait_until(lambda: store.claims.sweep(10), "the lease to run out")
    [again] = [due.message for due in (await store.outbox.take([""], 10, LEASE)).entries]
    assert (again.run_id, again.generation) == (first.run_id, 2)
    await store.outbox.published([again])
    return again


@pytest.mark.requires("valkey")
async def test_a_begun_fire_is_not_skipped_for_one_that_came_after_its_worker_died(store: RedisStore) -> None:
    again = await interrupted(store, Overlap.SKIP)
    later = await claim(store, await fire(store, 2), LEASE, Overlap.SKIP)
    assert (later.answer, later.reason) == (Answer.SETTLED, "skipped: overlap")
    assert (await claim(store, again, LEASE, Overlap.SKIP)).answer is Answer.RUN


@pytest.mark.requires("valkey")
async def test_a_begun_fire_does_not_give_way_to_newer_ones_that_wait(store: RedisStore) -> None:
    again = await interrupted(store, Overlap.QUEUE)
    later, newest = await fire(store, 2), await fire(store, 1)
    for message in (later, newest):
        assert (await claim(store, message, LEASE, Overlap.QUEUE)).answer is Answer.LATER
    assert (await claim(store, again, LEASE, Overlap.QUEUE)).answer is Answer.RUN
    superseded = await store.ledger.run(later.run_id)
    assert superseded
    assert superseded.verdict is Verdict.MISSED, "it was never begun"
