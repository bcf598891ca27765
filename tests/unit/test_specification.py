"""The specification's snippets run: internal tasks and enqueues, in memory. Its flows: tests/integration."""

from typing import Any

import pytest

from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings
from tests.specification import as_function, blocks
from tests.waiting import wait_until

WITHOUT_FLOWS = [block for block in blocks() if "@flow" not in block]
TASKS = ("health_check", "collect_metrics", "cleanup_cache", "simple_task", "check_system_health")


def test_every_snippet_is_run_somewhere() -> None:
    assert len(blocks()) == 9
    assert len(WITHOUT_FLOWS) == 6
    assert not any("Deployment" in block for block in blocks())


@pytest.mark.parametrize("block", WITHOUT_FLOWS)
async def test_a_snippet_runs(block: str) -> None:
    received: list[list[str]] = []

    def backup(*, repos: list[str]) -> None:
        received.append(repos)

    async def task() -> None:
        """Do nothing."""

    registry = Registry()
    for name in ("my-workflow", "daily-backup"):
        registry.add(Job(name=name, tier=Tier.ONEIRIC, function=backup))
    scheduler = Scheduler(Settings(), registry)
    known: dict[str, Any] = dict.fromkeys(TASKS, task) | {"all_repos": ["/path/to/repo"]}
    exec(as_function(block + "\nreturn locals().get('result')"), known)
    async with scheduler.lifecycle():
        enqueued = await known["snippet"](scheduler)
        if enqueued is None:
            assert len(scheduler.registry.by_tier(Tier.APSCHEDULER)) == block.count("schedule_internal_task")
            return
        assert enqueued.provider == "cloudtasks"

        async def settled() -> Run | None:
            run = await scheduler.ledger.run(enqueued.run_id)
            return run if run and run.verdict else None

        run = await wait_until(settled, "the enqueued run")
    assert run
    assert run.verdict is Verdict.RAN
    assert received == [["/path/to/repo"]]
