"""A job that kills its process is recognised, run alone, and failed; those beside it are not taken for it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.reasons import Reason
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import StoreSettings, load
from horae.store import connect
from tests.processes import services
from tests.waiting import wait_until

DEADLY = '''
import ctypes
from horae import job

@job(traits={"infrastructure"}, overlap="allow", idempotent=True)
async def deadly() -> None:
    """Read where nothing is: a segmentation fault of the process that it runs in."""
    ctypes.string_at(0)
'''
PATIENT = '''
import asyncio
from horae import current_run, job

@job(traits={"infrastructure"}, overlap="allow", idempotent=True)
async def patient() -> None:
    """Wait until it may go."""
    run = current_run()
    with open(run.project / "begun", "a") as file:
        file.write(".")
    while not (run.project / "go").exists():
        await asyncio.sleep(0.05)
'''


@pytest.mark.requires("valkey")
async def test_a_job_that_kills_its_worker_is_run_alone_and_failed(
    project: Path, valkey_url: str, namespace: str
) -> None:
    (project / "infra" / "deadly.py").write_text(DEADLY)
    (project / "infra" / "patient.py").write_text(PATIENT)
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))}
    )
    with services(project, valkey_url, namespace) as running:
        first = running.start("queue_worker", HORAE_WORKER__LEASE_SECONDS="1")
        async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:

            async def settled(run_id: str) -> Run | None:
                row = await store.ledger.run(run_id)
                return row if row and row.verdict else None

            beside = (await scheduler.enqueue_workflow("patient")).run_id
            await wait_until(lambda: (project / "begun").exists(), "the job beside it to begin")
            deadly = (await scheduler.enqueue_workflow("deadly")).run_id
            await wait_until(lambda: first.process.poll() is not None, "the first worker to die of it", 20)
            second = running.start("queue_worker", HORAE_WORKER__LEASE_SECONDS="1")
            failed = await wait_until(lambda: settled(deadly), "its verdict", seconds=40)
            assert failed
            assert (failed.verdict, failed.reason, failed.note) == (Verdict.FAILED, Reason.KILLED_ITS_PROCESS, "3")
            assert failed.attempts == 4, "once with a worker, three times alone"
            assert failed.failure
            assert "SIGSEGV" in failed.failure.message
            assert second.process.poll() is None, "it took no other worker with it"
            (project / "go").touch()
            innocent = await wait_until(lambda: settled(beside), "the verdict of the job beside it", seconds=30)
            assert innocent
            assert (innocent.verdict, innocent.attempts) == (Verdict.RAN, 2)
