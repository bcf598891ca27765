"""The specification's snippets run: internal tasks and enqueues. Its flows: tests/integration."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from horae.errors import UnknownName
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings
from horae.store.values import Accepted
from tests.specification import as_function, blocks
from tests.waiting import wait_until

WITHOUT_FLOWS = [block for block in blocks() if "@flow" not in block]
DURABLE = [block for block in WITHOUT_FLOWS if "enqueue_workflow" in block]
INTERNAL = [block for block in WITHOUT_FLOWS if block not in DURABLE]
TASKS = ("health_check", "collect_metrics", "cleanup_cache", "simple_task", "check_system_health")


def test_every_snippet_is_run_somewhere() -> None:
    assert len(blocks()) == 9
    assert len(WITHOUT_FLOWS) == 6
    assert DURABLE
    assert INTERNAL
    assert not any("Deployment" in block for block in blocks())


@pytest.fixture
def received() -> list[list[str]]:
    """What the durable jobs were given."""
    return []


@pytest.fixture
def scheduler(program_settings: Settings, received: list[list[str]]) -> Scheduler:
    """The durable jobs of the snippets are declared here, so this process runs them."""

    def backup(*, repos: list[str]) -> None:
        received.append(repos)

    registry = Registry()
    for name in ("my-workflow", "daily-backup"):
        registry.add(Job(name=name, tier=Tier.ONEIRIC, function=backup))
    return Scheduler(program_settings, registry)


def snippet(block: str) -> Callable[[Scheduler], Awaitable[Accepted | None]]:
    async def task() -> None:
        """Do nothing."""

    known: dict[str, Any] = dict.fromkeys(TASKS, task) | {"all_repos": ["/path/to/repo"]}
    exec(as_function(block + "\nreturn locals().get('result')"), known)
    found: Callable[[Scheduler], Awaitable[Accepted | None]] = known["snippet"]
    return found


@pytest.mark.parametrize("block", INTERNAL)
async def test_an_internal_task_is_scheduled(scheduler: Scheduler, block: str) -> None:
    async with scheduler.lifecycle():
        assert await snippet(block)(scheduler) is None
        assert len(scheduler.registry.by_tier(Tier.APSCHEDULER)) == block.count("schedule_internal_task")


@pytest.mark.parametrize("block", DURABLE)
async def test_an_enqueue_names_a_provider_that_is_not_there(scheduler: Scheduler, block: str) -> None:
    async with scheduler.lifecycle():
        with pytest.raises(UnknownName, match=r"queue provider 'cloudtasks'.*redis"):
            await snippet(block)(scheduler)
        assert await scheduler.ledger.runs() == []


@pytest.mark.parametrize("block", DURABLE)
async def test_an_enqueue_runs(scheduler: Scheduler, block: str, received: list[list[str]]) -> None:
    async with scheduler.lifecycle():
        enqueued = await snippet(block.replace('"cloudtasks"', '"redis"'))(scheduler)
        assert enqueued

        async def settled() -> Run | None:
            run = await scheduler.ledger.run(enqueued.run_id)
            return run if run and run.verdict else None

        run = await wait_until(settled, "the enqueued run")
    assert run
    assert run.verdict is Verdict.RAN
    assert received == [["/path/to/repo"]]
