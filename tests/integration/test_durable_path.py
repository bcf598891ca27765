"""A durable job's way: accepted, published, claimed, run, settled; on real Valkeys with everything in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from horae.duties.duty import Progresses, keep_doing
from horae.duties.workplace import open_workplace
from horae.execution.work import Work
from horae.metrics.process import Metrics
from horae.project.loading import load as load_registry
from horae.reasons import Reason
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings, WorkerSettings, load
from horae.store import connect
from tests.waiting import wait_until

JOBS = '''
import os, signal, time, asyncio
from datetime import timedelta
from horae import Retry, current_run, job

@job(traits={"infrastructure"}, time_limit=timedelta(seconds=20), retry=Retry(retries=1, base_delay=timedelta(0)))
def NAME(*, how: str = "well", seconds: float = 0.0) -> dict:
    """Do as told."""
    run = current_run()
    print("it says", how)
    run.report("half way")
    if how == "raise":
        raise ValueError("no good")
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "once":
        mark = run.project / "once"
        if not mark.exists():
            mark.write_text("")
            raise OSError("the first time fails")
    time.sleep(seconds)
    return {"token": run.token, "attempt": run.attempt, "pid": os.getpid()}
'''


@pytest.fixture
def settings(project: Path, carried_both_ways: Settings) -> Settings:
    (project / "infra" / "told.py").write_text(JOBS.replace("NAME", "told"))
    (project / "infra" / "short.py").write_text(
        JOBS.replace("NAME", "short").replace("seconds=20", "seconds=1").replace("retries=1", "retries=0")
    )
    own = load(project)
    return own.model_copy(
        update={
            "namespace": carried_both_ways.namespace,
            "store": carried_both_ways.store,
            "queue": carried_both_ways.queue,
            "worker": WorkerSettings(lease_seconds=2, slots=3),
        }
    )


@asynccontextmanager
async def a_worker(settings: Settings, name: str = "w1") -> AsyncIterator[Work]:
    """The duties of a queue worker, here."""
    metrics, registry = Metrics(), load_registry(settings)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(open_workplace(settings, name, settings.worker.slots, metrics))
        duties = place.movers()
        for provider, source in place.queues.open_consumers(name).items():
            stack.push_async_callback(source.close)
            duties.append(place.consumer(provider, source, registry))
        stopping = asyncio.Event()
        tasks = [asyncio.create_task(keep_doing(duty, Progresses(metrics), stopping)) for duty in duties]
        yield place.work
        stopping.set()
        await asyncio.gather(*tasks)


async def told(settings: Settings, job: str = "told", **context: object) -> tuple[Run, list[str]]:
    """Enqueue and wait for the verdict."""
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        accepted = await scheduler.enqueue_workflow(job, context=context)

        async def settled() -> Run | None:
            run = await store.ledger.run(accepted.run_id)
            return run if run and run.verdict else None

        run = await wait_until(settled, f"{job} to be settled", seconds=30)
        assert run
        return run, await store.ledger.log(run.run_id)


async def test_a_job_runs_and_the_ledger_tells_its_story(settings: Settings) -> None:
    async with a_worker(settings):
        run, log = await told(settings)
    assert (run.verdict, run.attempts, run.progress) == (Verdict.RAN, 1, "half way")
    assert run.result["token"] > 0
    assert any(line.endswith("PRINT it says well") for line in log)
    assert any(line.endswith("PROGRESS half way") for line in log)
    what = [event.what for event in run.story]
    if settings.queue.redis_url and what[1] == "claimed":
        what.insert(1, "published")  # a worker may claim the run before its relay says that it published the message
    assert what == ["accepted", "published", "claimed", "settled"]


async def test_what_raises_is_retried_then_a_dead_letter(settings: Settings) -> None:
    async with a_worker(settings), connect(settings) as store:
        run, _ = await told(settings, how="raise")
        [letter] = await store.dead_letters.newest()
    assert (run.verdict, run.reason, run.attempts) == (Verdict.FAILED, "raised", 2)
    assert run.failure
    assert (run.failure.type, run.failure.message) == ("ValueError", "no good")
    assert "told.py" in run.failure.traceback
    assert letter.run_id == run.run_id


async def test_a_retry_may_go_well(settings: Settings) -> None:
    async with a_worker(settings):
        run, _ = await told(settings, how="once")
    assert (run.verdict, run.attempts, run.result["attempt"]) == (Verdict.RAN, 2, 2)


async def test_a_job_that_kills_its_process_fails_and_the_worker_lives(settings: Settings) -> None:
    async with a_worker(settings):
        run, _ = await told(settings, how="die")
        assert (run.verdict, run.reason, run.note) == (Verdict.FAILED, Reason.KILLED_ITS_PROCESS, "3")
        assert run.failure
        assert "SIGKILL" in run.failure.message
        again, _ = await told(settings)
        assert again.verdict is Verdict.RAN


async def test_over_its_time_limit_a_job_is_ended(settings: Settings) -> None:
    async with a_worker(settings):
        run, _ = await told(settings, "short", seconds=60)
    assert (run.verdict, run.reason) == (Verdict.FAILED, "timed out")
    assert run.duration_seconds
    assert run.duration_seconds < 10


async def test_a_job_longer_than_its_lease_runs_once(settings: Settings) -> None:
    async with a_worker(settings, "w1"), a_worker(settings, "w2"):
        run, _ = await told(settings, seconds=5)
    assert (run.verdict, run.attempts) == (Verdict.RAN, 1)


async def test_a_draining_worker_hands_back_and_another_runs_it(settings: Settings) -> None:
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        async with a_worker(settings, "first"):
            accepted = await scheduler.enqueue_workflow("told", context={"seconds": 3})

            async def running() -> bool:
                run = await store.ledger.run(accepted.run_id)
                return bool(run and run.state == "running")

            await wait_until(running, "the run to begin", seconds=20)
        async with a_worker(settings, "second"):

            async def settled() -> Run | None:
                run = await store.ledger.run(accepted.run_id)
                return run if run and run.verdict else None

            run = await wait_until(settled, "the other worker to end it", seconds=30)
    assert run
    assert (run.verdict, run.worker, run.attempts) == (Verdict.RAN, "second", 2)
    assert "handed back" in [event.what for event in run.story]


async def test_an_unknown_context_key_is_refused_before_anything_is_accepted(settings: Settings) -> None:
    from horae.errors import InvalidJob

    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        with pytest.raises(InvalidJob, match="did you mean 'seconds'"):
            await scheduler.enqueue_workflow("told", context={"second": 1})
        assert await store.ledger.runs() == []
