"""`Scheduler.enqueue` and `enqueue_workflow`, which says the same in the words of the specification."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from horae import Job, Priority, Scheduler, Settings, Tier
from horae.errors import InvalidJob, UnknownName, UsageError
from horae.messages import Message
from horae.project.registry import Registry
from horae.scheduler.replays import message_of
from tests.waiting import wait_until

LATER = datetime(2099, 12, 1, 2, tzinfo=UTC)


def copy(source: str = "/data") -> str:
    raise OSError(source)


COPY = Job(name="copy-files", tier=Tier.ONEIRIC, function=copy)


@pytest_asyncio.fixture
async def scheduler(program_settings: Settings) -> AsyncIterator[Scheduler]:
    registry = Registry()
    registry.add(COPY)
    async with Scheduler(program_settings, registry).lifecycle() as opened:
        yield opened


async def message_of_failed(scheduler: Scheduler, run_id: str) -> Message:
    letter = await wait_until(lambda: scheduler.dead_letters.get(run_id), "the dead letter of the run")
    assert letter
    return message_of(letter, 10_000)


async def test_both_ways_make_the_same_run(scheduler: Scheduler) -> None:
    plain = await scheduler.enqueue("copy-files", {"source": "/a"}, priority="low")
    metadata = {"priority": "low"}
    specified = await scheduler.enqueue_workflow("copy_files", context={"source": "/a"}, metadata=metadata)
    for enqueued in (plain, specified):
        message = await message_of_failed(scheduler, enqueued.run_id)
        assert (message.job, message.context, message.priority) == ("copy-files", {"source": "/a"}, Priority.LOW)
    assert (await message_of_failed(scheduler, specified.run_id)).metadata == metadata


async def test_both_ways_delay_a_run(scheduler: Scheduler) -> None:
    text = "2099-12-01T02:00:00Z"
    assert (await scheduler.enqueue("copy-files", at=LATER)).due == LATER
    assert (await scheduler.enqueue_workflow("copy-files", metadata={"schedule_time": text})).due == LATER


async def test_a_job_may_be_given_itself_and_a_run_by_its_id_is_one_run(scheduler: Scheduler) -> None:
    first = await scheduler.enqueue(COPY, at=LATER, run_id="mine", priority=Priority.HIGH)
    second = await scheduler.enqueue(COPY, at=LATER, run_id="mine")
    assert (first.run_id, first.new, second.run_id, second.new) == ("mine", True, "mine", False)


@pytest.mark.parametrize(
    ("job", "arguments", "kind", "said"),
    [
        ("copy-file", {}, UnknownName, "did you mean 'copy-files'"),
        ("copy-files", {"context": {"sauce": 1}}, InvalidJob, "did you mean 'source'"),
        ("copy-files", {"at": datetime(2099, 12, 1)}, UsageError, "give a datetime with a time zone"),  # noqa: DTZ001
        ("copy-files", {"at": "2099-12-01T02:00:00Z"}, UsageError, "give a datetime with a time zone"),
        ("copy-files", {"priority": "hihg"}, UsageError, "unknown priority 'hihg', did you mean 'high'"),
        ("copy-files", {"provider": "redsi"}, UsageError, "redsi"),
    ],
)
async def test_what_cannot_be_accepted(
    scheduler: Scheduler, job: str, arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        await scheduler.enqueue(job, **arguments)
