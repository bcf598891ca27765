"""The worker `horae-warm` on a real Prefect server: forks of a template that has imported the flow."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from horae.execution.tree import children_of
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.up.parts import Parts
from horae.up.prefect_parts import deploy, prepare, server_part, worker_part
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FLOWS = '''
import os
import pathlib
import sys
import time

from prefect import flow

import helper


def cancelled(flow, flow_run, state):
    pathlib.Path("hook").write_text(state.name)


async def crashed(flow, flow_run, state):
    pathlib.Path("crashed").write_text(f"{flow.name} {state.name}")


@flow(on_cancellation=[cancelled], on_crashed=[lambda *_: 1 / 0, crashed])
def told(wanted: str = "") -> None:
    """Writes where and in what it runs."""
    facts = [str(pathlib.Path.cwd()), str(os.getppid()), helper.WORD, os.environ.get("COLOUR", "")]
    pathlib.Path(f"told-{wanted}").write_text(" ".join(facts))
    if wanted == "sleep":
        pathlib.Path("sleeper").write_text(str(os.getpid()))
        time.sleep(600)
    if wanted == "wait":
        print("begun", flush=True)
        pathlib.Path("sleeper").write_text(str(os.getpid()))
        while not pathlib.Path("let it end").exists():
            time.sleep(0.05)
        print("ends", flush=True)
    if wanted == "exit":
        os._exit(3)
    if wanted == "fail":
        raise ValueError("as asked")
'''
BAD = '''
import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()

from prefect import flow


@flow
def threaded() -> None:
    """Its import starts a thread."""
'''
DEPLOYMENTS = """
name: trial
pull: []
deployments:
  - {name: plain, entrypoint: "flows/told.py:told", work_pool: {name: warm}}
  - {name: red, entrypoint: "flows/told.py:told", work_pool: {name: warm, job_variables: {env: {COLOUR: red}}}}
  - {name: threaded, entrypoint: "flows/threaded.py:threaded", work_pool: {name: warm}}
"""


class Trial:
    def __init__(self, project: Path, parts: Parts, api: PrefectApi, url: str) -> None:
        self.project, self.parts, self.api, self.url = project, parts, api, url

    async def start(self, name: str, wanted: str = "") -> str:
        found = await self.api.deployment_by_name(name)
        assert found
        return await self.api.create_flow_run(found.id, {"wanted": wanted} if wanted else {})

    async def ended(self, run_id: str, seconds: float = 60) -> FlowRun:
        async def settled() -> FlowRun | None:
            run = await self.api.flow_run(run_id)
            return run if run and run.settled else None

        run = await wait_until(settled, "the flow run's end", seconds)
        assert run
        return run

    async def facts(self, name: str, wanted: str) -> list[str]:
        """Folder, parent process, word of the helper module, variable COLOUR."""
        run = await self.ended(await self.start(name, wanted))
        assert run.state_type == "COMPLETED"
        return (self.project / f"told-{wanted}").read_text().split(" ")

    def pid(self, name: str) -> int:
        """0 while it does not run."""
        [found] = [status.pid for status in self.parts.status() if status.name == name]
        return found or 0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    project = tmp_path_factory.mktemp("warm") / "project"
    (project / "flows").mkdir(parents=True)
    (project / "flows" / "told.py").write_text(FLOWS)
    (project / "flows" / "helper.py").write_text('WORD = "first"\n')
    (project / "flows" / "threaded.py").write_text(BAD)
    (project / "prefect.yaml").write_text(DEPLOYMENTS)
    state, port = project / ".horae", free_port()
    url = f"http://{LOOPBACK}:{port}/api"
    async with Parts(state) as parts, PrefectApi(url) as api:
        await parts.start(server_part(project, state, port))
        kind = await prepare(api, project, "warm", ours=True, worker="horae-warm")
        worker = worker_part(project, state, "warm", url, needs=("prefect-server",), worker=kind)
        # It asks so seldom that every test also shows that it hears of new flow runs.
        worker = replace(worker, env={**worker.env, "PREFECT_WORKER_QUERY_SECONDS": "120"})
        await asyncio.gather(parts.start(worker), deploy(project, state, url))
        yield Trial(project, parts, api, url)


async def test_a_flow_run_is_a_fork_of_a_template_of_its_flow_and_environment(trial: Trial) -> None:
    """The first runs may come from the template without a flow; then each environment has its own."""

    async def parent() -> str:
        plain, red = await trial.facts("told/plain", "a"), await trial.facts("told/red", "b")
        assert (plain[0], red[0]) == (str(trial.project), str(trial.project))
        assert (plain[3], red[3]) == ("", "red")
        again = await trial.facts("told/plain", "c")
        return plain[1] if plain[1] == again[1] != red[1] else ""

    template = await wait_until(parent, "a template of each environment", 60)
    assert int(template) in children_of(trial.pid("prefect-worker"))


async def test_a_changed_module_is_what_the_next_run_uses(trial: Trial) -> None:
    (trial.project / "flows" / "helper.py").write_text('WORD = "second"\n')
    assert (await trial.facts("told/plain", "d"))[2] == "second"


async def test_a_flow_whose_import_starts_a_thread_runs(trial: Trial) -> None:
    run = await trial.ended(await trial.start("threaded/threaded"))
    assert run.state_type == "COMPLETED"
    run = await trial.ended(await trial.start("threaded/threaded"))
    assert run.state_type == "COMPLETED"


@pytest.mark.parametrize(("wanted", "state"), [("exit", "CRASHED"), ("fail", "FAILED")])
async def test_the_end_of_a_run_is_what_its_process_says(trial: Trial, wanted: str, state: str) -> None:
    run = await trial.ended(await trial.start("told/plain", wanted))
    assert run.state_type == state


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def sleeper(trial: Trial, wanted: str = "sleep") -> tuple[str, int]:
    file = trial.project / "sleeper"
    file.unlink(missing_ok=True)
    run = await trial.start("told/plain", wanted)

    async def begun() -> str:
        return file.read_text() if file.exists() else ""

    pid = await wait_until(begun, "the flow run", 60)
    assert pid
    return run, int(pid)


async def test_cancelling_ends_the_process_and_the_run(trial: Trial) -> None:
    run, pid = await sleeper(trial)
    await trial.api.cancel(run)
    assert (await trial.ended(run, 25)).state_type == "CANCELLED"  # before the grace period ends
    await wait_until(lambda: not alive(pid), "the end of the process", 10)
    assert (trial.project / "hook").read_text() == "Cancelling"


async def test_a_killed_run_is_crashed_and_the_next_one_runs(trial: Trial) -> None:
    run, pid = await sleeper(trial)
    os.kill(pid, signal.SIGKILL)
    assert (await trial.ended(run)).state_type == "CRASHED"
    told = trial.project / "crashed"
    assert await wait_until(lambda: told.exists() and told.read_text(), "the hook", 30) == "told Crashed"
    told.unlink()
    # the way of a machine that cannot fork
    variables = {"PREFECT_API_URL": trial.url, "PREFECT__FLOW_RUN_ID": run}
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "horae.warm.crashed"), cwd=trial.project, env={**os.environ, **variables}
    )
    assert await program.wait() == 1, "one of its hooks raises"
    assert told.read_text() == "told Crashed"
    assert (await trial.facts("told/plain", "e"))[0] == str(trial.project)


async def test_a_run_outlives_a_killed_worker(trial: Trial) -> None:
    run, pid = await sleeper(trial, "wait")
    worker = trial.pid("prefect-worker")
    os.kill(worker, signal.SIGKILL)
    await wait_until(lambda: trial.pid("prefect-worker") not in {0, worker}, "another worker", 60)
    assert alive(pid)
    (trial.project / "let it end").touch()
    assert (await trial.ended(run)).state_type == "COMPLETED"
