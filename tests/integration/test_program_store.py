"""The store of a program that configures none: that of `horae up`, or an embedded one that outlives the program."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.clock import isoformat, now
from horae.duties.duty import Progresses, keep_doing
from horae.duties.workplace import open_workplace
from horae.errors import StartError, StoreUnavailable
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.embedded import FOLDER
from horae.local.endpoints import Endpoints, remove
from horae.local.ports import free_port
from horae.local.valkey import running
from horae.metrics.process import Metrics
from horae.project.registry import Registry
from horae.redis.keys import OWN
from horae.runs import Run, State, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings, StoreSettings
from horae.up.parts import Parts
from horae.up.store_part import store_part
from tests.waiting import wait_for, wait_until

pytestmark = pytest.mark.requires("valkey")
ROOT = Path(__file__).parents[2]
LATER = timedelta(hours=1)
TIDY = """
from horae import job

@job(traits={"infrastructure"})
def tidy() -> int:
    return 7
"""

PROGRAM = """
import asyncio, sys
from pathlib import Path
from horae import Job, Scheduler, Settings, Tier
from horae.project.registry import Registry

def greet(*, name: str) -> str:
    return f"hello {name}"

async def main() -> None:
    registry = Registry()
    registry.add(Job(name="greet", tier=Tier.ONEIRIC, function=greet))
    async with Scheduler(Settings(project=Path(sys.argv[1])), registry).lifecycle() as scheduler:
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def greet(*, name: str = "you") -> str:
    return f"hello {name}"


def program(project: Path, *names: str) -> Scheduler:
    registry = Registry()
    for name in names or ("greet",):
        registry.add(Job(name=name, tier=Tier.ONEIRIC, function=greet))
    return Scheduler(Settings(project=project), registry)


async def settled(scheduler: Scheduler, run_id: str) -> Run:
    async def verdict() -> Run | None:
        run = await scheduler.ledger.run(run_id)
        return run if run and run.verdict else None

    run = await wait_until(verdict, "its verdict", seconds=30)
    assert run
    return run


def said(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    return [one.getMessage() for one in caplog.records if getattr(one, "action", "") == action]


@contextmanager
def other_program(project: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that has its scheduler open, until its input ends."""
    command = [sys.executable, "-c", PROGRAM, str(project)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def data_of(project: Path) -> Path:
    return project.resolve() / ".horae" / FOLDER


def gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


def nothing_runs(project: Path) -> None:
    wait_for(lambda: running(data_of(project)) is None, "the embedded server to be gone")


class TestEmbedded:
    async def test_it_says_so_runs_jobs_here_and_keeps_what_happened(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            async with program(project).lifecycle() as scheduler:
                enqueued = await scheduler.enqueue_workflow("greet", context={"name": "Ada"})
                run = await settled(scheduler, enqueued.run_id)
        assert (run.verdict, run.result, enqueued.provider) == (Verdict.RAN, "hello Ada", OWN)
        [text] = said(caplog, "store_embedded")
        assert str(data_of(project)) in text
        assert said(caplog, "runs_open") == []
        nothing_runs(project)
        async with program(project).lifecycle() as scheduler:
            assert await scheduler.ledger.run(enqueued.run_id) == run

    async def test_what_is_open_is_named_and_taken_up_by_the_next(
        self, project: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        soon = {"schedule_time": isoformat(now() + timedelta(seconds=2))}
        async with program(project).lifecycle() as scheduler:
            open_run = (await scheduler.enqueue_workflow("greet", metadata=soon)).run_id
        [text] = said(caplog, "runs_open")
        assert f"{open_run} (greet, " in text
        assert "this program" in text
        assert "continues them" in text
        async with program(project).lifecycle() as scheduler:
            assert (await settled(scheduler, open_run)).verdict is Verdict.RAN

    async def test_jobs_of_the_project_run_here_too(self, project: Path) -> None:
        (project / "infra" / "tidy.py").write_text(TIDY)
        async with Scheduler(Settings(project=project)).lifecycle() as scheduler:
            enqueued = await scheduler.enqueue_workflow("tidy")
            assert enqueued.provider == "redis"
            assert (await settled(scheduler, enqueued.run_id)).result == 7

    async def test_programs_share_it_and_the_last_one_to_go_ends_it_even_if_killed(self, project: Path) -> None:
        with other_program(project) as other:
            first = running(data_of(project))
            assert first
            async with program(project, "greet", "wave").lifecycle() as scheduler:
                assert running(data_of(project)) == first
                assert (await settled(scheduler, (await scheduler.enqueue_workflow("wave")).run_id)).result
            assert running(data_of(project)) == first
            other.send_signal(signal.SIGKILL)
            other.wait()
            nothing_runs(project)

    async def test_a_server_that_is_killed_comes_back_with_what_it_knew(self, project: Path) -> None:
        async with program(project).lifecycle() as scheduler:
            before = (await scheduler.enqueue_workflow("greet")).run_id
            await settled(scheduler, before)
            first = running(data_of(project))
            assert first
            os.kill(first.process, signal.SIGTERM)  # SIGKILL could lose the last second before it

            await wait_until(lambda: gone(first.process), "the first server to be gone")

            async def back() -> Run | None:
                with suppress(StoreUnavailable):
                    return await scheduler.ledger.run(before)
                return None

            await wait_until(back, "another server with the same runs")
            second = running(data_of(project))
            assert second
            assert second.process != first.process

    async def test_a_state_folder_that_cannot_be_written_is_named(self, project: Path) -> None:
        (project / ".horae").write_text("in the way")
        with pytest.raises(StartError, match=r"cannot store the data of the embedded store in .*HORAE_STATE_DIR"):
            async with program(project).lifecycle():
                raise AssertionError


class TestBesideHoraeUp:
    @pytest.fixture
    async def up(self, project: Path, valkey_url: str) -> AsyncIterator[None]:
        """As `horae up` leaves it while it runs."""
        state = project / ".horae"
        Endpoints(pid=os.getpid(), store_url=valkey_url).write(state)
        yield
        remove(state)

    async def test_its_store_is_used_and_named(
        self, project: Path, up: None, valkey_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            async with program(project, f"greet-{os.getpid()}").lifecycle() as scheduler:
                soon = {"schedule_time": isoformat(now() + timedelta(milliseconds=300))}
                enqueued = await scheduler.enqueue_workflow(f"greet-{os.getpid()}", metadata=soon)
                assert (await settled(scheduler, enqueued.run_id)).verdict is Verdict.RAN
        [text] = said(caplog, "store_of_horae_up")
        assert str(project) in text
        assert running(data_of(project)) is None

    async def test_a_job_that_only_the_program_knows_is_never_given_to_a_worker(
        self, project: Path, valkey_url: str, namespace: str
    ) -> None:
        settings = Settings(project=project, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))
        stopping = asyncio.Event()
        async with open_workplace(settings, "worker", 4, Metrics()) as place:
            [(provider, source)] = place.queues.open_consumers("worker").items()
            duties = [*place.movers(), place.consumer(provider, source, Registry())]
            tasks = [asyncio.create_task(keep_doing(one, Progresses(place.metrics), stopping)) for one in duties]
            registry = Registry()
            registry.add(Job(name="greet", tier=Tier.ONEIRIC, function=greet))
            async with Scheduler(settings, registry).lifecycle() as scheduler:
                soon = {"schedule_time": isoformat(now() + timedelta(milliseconds=300))}
                sent = await scheduler.enqueue_many("greet", [{"name": str(n)} for n in range(10)], metadata=soon)
                runs = [await settled(scheduler, one.run_id) for one in sent]
            stopping.set()
            await asyncio.gather(*tasks)
            await source.close()
        assert {run.verdict for run in runs} == {Verdict.RAN}
        assert "handed back" not in {event.what for run in runs for event in run.story}

    async def test_what_only_the_program_knows_waits_for_it(
        self, project: Path, valkey_url: str, namespace: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings = Settings(project=project, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))
        registry = Registry()
        registry.add(Job(name="greet", tier=Tier.ONEIRIC, function=greet))
        later = {"schedule_time": isoformat(now() + LATER)}
        async with Scheduler(settings, registry).lifecycle() as scheduler:
            run_id = (await scheduler.enqueue_workflow("greet", metadata=later)).run_id
        [text] = said(caplog, "runs_open")
        assert run_id in text
        async with Scheduler(settings, registry).lifecycle() as scheduler:
            run = await scheduler.ledger.run(run_id)
            assert run
            assert run.state is State.PENDING

    async def test_horae_up_does_not_start_a_second_server_on_the_data_of_a_program(self, project: Path) -> None:
        async with program(project).lifecycle(), Parts(project / ".horae") as parts:
            server = running(data_of(project))
            assert server
            with pytest.raises(StartError, match=rf"process {server.process} uses the data in .*Scheduler\(\)"):
                await parts.start(store_part(project / ".horae", free_port()))

    async def test_a_program_uses_the_server_of_a_horae_up_that_is_starting(self, project: Path) -> None:
        async with Parts(project / ".horae") as parts:
            await parts.start(store_part(project / ".horae", free_port()))
            first = running(data_of(project))
            async with program(project).lifecycle() as scheduler:
                await settled(scheduler, (await scheduler.enqueue_workflow("greet")).run_id)
                assert running(data_of(project)) == first
            assert running(data_of(project)) == first
