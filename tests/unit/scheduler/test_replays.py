"""Replays by the front door: what the new run gets, what is refused, and that one letter is one run."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from horae.errors import NotReplayable, UnknownName
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.messages import Message, Priority
from horae.project.registry import Registry
from horae.reasons import Reason
from horae.runs import Cause, Run, Verdict, replay_id
from horae.scheduler.replays import Edit
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings
from tests.waiting import wait_until


def copy(*, source: str = "/nowhere", count: int = 1) -> str:
    """Copies."""
    if source == "/nowhere":
        raise OSError(f"there is no {source}")
    return f"{count} from {source}"


@pytest_asyncio.fixture
async def scheduler(program_settings: Settings) -> AsyncIterator[Scheduler]:
    registry = Registry()
    registry.add(Job(name="copy", tier=Tier.ONEIRIC, function=copy))
    registry.add(Job(name="copy-once", tier=Tier.ONEIRIC, function=copy, unique_by=()))
    registry.add(Job(name="report", tier=Tier.PREFECT, deployment="report/report"))
    async with Scheduler(program_settings, registry).lifecycle() as opened:
        yield opened


async def settled(scheduler: Scheduler, run_id: str) -> Run:
    async def verdict() -> Run | None:
        found = await scheduler.ledger.run(run_id)
        return found if found and found.verdict else None

    found = await wait_until(verdict, "the run's verdict")
    assert found
    return found


async def died(scheduler: Scheduler, job: str = "copy", **metadata: str) -> str:
    run = (await scheduler.enqueue_workflow(job, context={"count": 2}, metadata=metadata)).run_id
    assert (await settled(scheduler, run)).verdict is Verdict.FAILED
    return run


async def test_a_replay_is_a_new_run_that_names_the_old_one(scheduler: Scheduler) -> None:
    old = await died(scheduler, owner="Ada", schedule_time="2026-01-01T00:00:00Z")
    enqueued = await scheduler.replay(old, {"source": "/data"}, reason="moved")
    run = await settled(scheduler, enqueued.run_id)
    assert (run.verdict, run.result, run.cause) == (Verdict.RAN, "2 from /data", Cause.REPLAY)
    assert run.metadata == {"owner": "Ada", "replays": old, "replay_reason": "moved"}
    assert run.replays == old
    was = await scheduler.ledger.run(old)
    assert was
    assert (was.replayed_as, was.verdict) == (run.run_id, Verdict.FAILED)
    assert await scheduler.dead_letters.newest() == []


async def test_keys_of_the_old_context_may_be_left_out(scheduler: Scheduler) -> None:
    enqueued = await scheduler.replay(await died(scheduler), {"source": "/data"}, without=["count"])
    assert (await settled(scheduler, enqueued.run_id)).context == {"source": "/data"}


async def test_a_replay_that_fails_can_be_replayed(scheduler: Scheduler) -> None:
    first = await died(scheduler)
    second = (await scheduler.replay(first, reason="perhaps")).run_id
    await settled(scheduler, second)
    third = await settled(scheduler, (await scheduler.replay(second, {"source": "/data"})).run_id)
    assert (third.replays, "replay_reason" in third.metadata) == (second, False)


async def test_a_letter_that_two_take_up_is_one_run(scheduler: Scheduler) -> None:
    old = await died(scheduler)
    letter = await scheduler.dead_letters.get(old)
    assert letter
    both = [scheduler.planned(letter, Edit(context={"source": source})) for source in ("/a", "/b")]
    first, second = [(await scheduler.replay_all([one]))[0] for one in both]
    assert (first.run_id, first.new, second.run_id, second.new) == (replay_id(old), True, replay_id(old), False)
    assert (await settled(scheduler, first.run_id)).result == "2 from /a"


async def test_a_priority_is_kept(scheduler: Scheduler) -> None:
    letter = await scheduler.dead_letters.get(await died(scheduler, priority="high"))
    assert letter
    new = scheduler.planned(letter).new
    assert new
    assert new.priority is Priority.HIGH


async def test_what_there_is_no_letter_of_is_refused_with_the_reason(scheduler: Scheduler) -> None:
    old = await died(scheduler)
    with pytest.raises(UnknownName, match=old):
        await scheduler.replay("no-such-run")
    ran = (await scheduler.enqueue_workflow("copy", context={"source": "/data"})).run_id
    await settled(scheduler, ran)
    with pytest.raises(NotReplayable, match="but a run of copy with the state ran"):
        await scheduler.replay(ran)
    with pytest.raises(NotReplayable, match="unknown context key 'sorce', did you mean 'source'"):
        await scheduler.replay(old, {"sorce": "/data"})
    new = (await scheduler.replay(old)).run_id
    with pytest.raises(NotReplayable, match=f"already replayed as {new}"):
        await scheduler.replay(old)
    await settled(scheduler, new)
    await scheduler.dead_letters.drop([new])
    with pytest.raises(NotReplayable, match="was dropped"):
        await scheduler.replay(new)


async def test_while_another_run_has_the_uniqueness_key_the_letter_stays(scheduler: Scheduler) -> None:
    old = await died(scheduler, "copy-once")
    later = {"schedule_time": "2036-01-01T00:00:00Z"}
    holder = await scheduler.enqueue_workflow("copy-once", metadata=later)
    refused = await scheduler.replay(old)
    assert (refused.run_id, refused.new) == (holder.run_id, False)
    assert await scheduler.dead_letters.get(old)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "is not a valid message"),
        (b'{"job": "copi"}', "no job 'copi' is registered now; did you mean 'copy'"),
        (b'{"job": "report"}', "it is a flow"),
    ],
)
async def test_a_body_that_cannot_be_run_is_refused_with_what_to_do(
    scheduler: Scheduler, body: bytes, why: str
) -> None:
    id = await scheduler.dead_letters.bury(body, Reason.INVALID_MESSAGE, "not a run")
    with pytest.raises(NotReplayable, match=why) as refused:
        await scheduler.replay(id)
    assert id in refused.value.message


async def test_a_message_that_was_too_old_may_be_replayed(scheduler: Scheduler) -> None:
    """Nobody could prove that it had not run; whoever replays it knows."""
    body = Message(job="copy", context={"source": "/old"}).encode(1024)
    id = await scheduler.dead_letters.bury(body, Reason.TOO_OLD, job="copy")
    assert (await settled(scheduler, (await scheduler.replay(id)).run_id)).result == "1 from /old"
