"""A worker that is stopped, killed, or blocked by a job: who keeps its leases, and what becomes of its processes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.clock import monotonic
from horae.execution.tree import children_of, descendants_of
from horae.runs import Run, Verdict
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings, StoreSettings, load
from horae.store import Store, connect
from tests.processes import Service, Services, services
from tests.waiting import wait_for, wait_until

pytestmark = [
    pytest.mark.requires("valkey"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path("/proc").exists(), reason="orphans are adopted on Linux only"),
]

HEAD = """
import asyncio, ctypes, os, subprocess, time
from datetime import timedelta
from pathlib import Path
from horae import current_run, job

def begun() -> None:
    with open(current_run().project / "begun", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""
LOCKS = """
@job(traits={"infrastructure"}, time_limit=timedelta(seconds=LIMIT), idempotent=True)
async def locks() -> str:
    \"\"\"Keep the interpreter lock, as a slow regular expression does.\"\"\"
    begun()
    ctypes.PyDLL(None).sleep(SECONDS)
    return "done"
"""
SLOW = """
@job(traits={"infrastructure"}, idempotent=True)
def slow() -> None:
    begun()
    time.sleep(3)
"""
STARTS = """
@job(traits={"infrastructure"}, idempotent=True)
KIND starts() -> None:
    \"\"\"Start processes, in this session and in one of their own, and wait.\"\"\"
    started = [subprocess.Popen(["sleep", "600"], start_new_session=new) for new in (False, True)]
    started.append(subprocess.Popen(["sh", "-c", "setsid sleep 600 & wait"]))
    with open(current_run().project / "started", "a") as file:
        file.write("".join(f"{one.pid}\\n" for one in started))
    begun()
    WAIT
"""


@pytest.fixture
def settings(project: Path, valkey_url: str, namespace: str) -> Settings:
    own = load(project)
    return own.model_copy(update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey_url))})


@pytest.fixture
def running(project: Path, valkey_url: str, namespace: str) -> Iterator[Services]:
    with services(project, valkey_url, namespace, HORAE_WORKER__LEASE_SECONDS="2") as found:
        yield found


def write(project: Path, name: str, body: str) -> None:
    (project / "infra" / f"{name}.py").write_text(HEAD + body)


def begun(project: Path) -> list[int]:
    """The processes in which an attempt began."""
    path = project / "begun"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


async def settled(store: Store, run: str, seconds: float = 30) -> Run:
    async def look() -> Run | None:
        row = await store.ledger.run(run)
        return row if row and row.verdict else None

    row = await wait_until(look, "the verdict", seconds)
    assert row
    return row


async def test_a_lock_held_for_ten_leases_does_not_lose_the_run(
    settings: Settings, running: Services, project: Path
) -> None:
    write(project, "locks", LOCKS.replace("LIMIT", "60").replace("SECONDS", "20"))
    workers = [running.start("queue_worker") for _ in range(2)]
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        run = await settled(store, (await scheduler.enqueue_workflow("locks")).run_id, 40)
    assert (run.verdict, run.attempts, run.result) == (Verdict.RAN, 1, "done")
    assert len(begun(project)) == 1
    assert [worker.process.poll() for worker in workers] == [None, None]


async def test_a_lock_held_for_ever_ends_the_worker_and_then_the_run(
    settings: Settings, running: Services, project: Path
) -> None:
    write(project, "locks", LOCKS.replace("LIMIT", "1").replace("SECONDS", "100000"))
    first = running.start("queue_worker")
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        accepted = (await scheduler.enqueue_workflow("locks")).run_id
        await wait_until(lambda: first.process.poll() is not None, "the guardian to end the worker", 20)
        assert first.process.returncode == 75
        assert "exceeds its time limit" in first.log.read_text()
        second = running.start("queue_worker")
        run = await settled(store, accepted)
    assert (run.verdict, run.reason, run.attempts) == (Verdict.FAILED, "timed out", 2)
    assert second.process.poll() is None, "there it ran in a process of its own"


async def test_a_worker_stopped_for_three_leases_gives_up_its_run(
    settings: Settings, running: Services, project: Path
) -> None:
    write(
        project,
        "slow",
        '@job(traits={"infrastructure"}, idempotent=True)\ndef slow():\n    begun()\n    time.sleep(3)\n',
    )
    first = running.start("queue_worker")
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        accepted = (await scheduler.enqueue_workflow("slow")).run_id
        await wait_until(lambda: begun(project), "the run to begin")
        first.hold()
        stopped_at = monotonic()
        second = running.start("queue_worker")
        await wait_until(lambda: len(begun(project)) == 2, "the other worker to begin it", 10)
        await wait_until(lambda: monotonic() - stopped_at > 6, "three leases to pass")
        first.let_go()
        run = await settled(store, accepted)
        assert run.worker.endswith(f":{second.pid}")
        await wait_until(
            lambda: "lease lost" in first.log.read_text() or "too late" in first.log.read_text(), "the word"
        )
    assert (run.verdict, run.attempts) == (Verdict.RAN, 2)
    assert first.process.poll() is None


@pytest.mark.parametrize("kind", ["def", "async def"], ids=["sync", "async"])
@pytest.mark.parametrize("who", ["pid", "guardian", "worker"])
async def test_whichever_is_killed_nothing_that_a_job_started_goes_on(
    settings: Settings, running: Services, project: Path, who: str, kind: str
) -> None:
    wait = "time.sleep(600)" if kind == "def" else "await asyncio.sleep(600)"
    write(project, "starts", STARTS.replace("KIND", kind).replace("WAIT", wait))
    worker = running.start("queue_worker")
    async with Scheduler(settings).lifecycle() as scheduler:
        await scheduler.enqueue_workflow("starts")
        await wait_until(lambda: begun(project), "the run to begin")
        await wait_until(lambda: len(below(worker)) >= 6, "the worker's processes and those of its job")
    everything = below(worker)
    os.kill(getattr(worker, who), signal.SIGKILL)
    await wait_until(lambda: not alive(everything), "all of them to be gone", 5)
    assert worker.process.wait(5) == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root may begin a pid namespace")
@pytest.mark.parametrize(("who", "sign", "status"), [("front", "TERM", 0), ("worker", "KILL", 137)])
def test_as_process_1_of_a_container_it_ends_as_its_worker(
    running: Services, project: Path, who: str, sign: str, status: int
) -> None:
    log = project / "container.log"
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-m", "horae", "worker"]
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=project, env=running.environment, stdout=file, stderr=file)
    try:
        wait_for(lambda: "process_up" in log.read_text() or process.poll() is not None, "the worker", 30)
        front = children_of(process.pid)[0]
        pid = front if who == "front" else children_of(children_of(front)[0])[0]
        os.kill(pid, signal.Signals[f"SIG{sign}"])
        wait_for(lambda: process.poll() is not None, "its end", 20)
        assert process.returncode == status, log.read_text()
    finally:
        process.kill()
        process.wait()


async def test_the_exit_status_and_the_end_of_a_worker_are_those_of_its_front(running: Services) -> None:
    worker = running.start("queue_worker")
    everything = below(worker)
    assert worker.terminate() == 0
    assert not alive(everything)


def below(worker: Service) -> list[int]:
    return descendants_of(worker.pid)


def alive(pids: list[int]) -> list[int]:
    """Those that are more than an entry in the table of processes."""
    found = []
    for pid in pids:
        with suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X"):
                found.append(pid)
    return found
