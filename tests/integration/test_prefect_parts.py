"""The Prefect side of `horae up` on a real server: deployments, schedules, flow runs, and what dies."""

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import SecretStr

from horae import clock
from horae.duties.flow_mirror import FlowMirror
from horae.duties.flow_pauses import FlowPauses
from horae.duties.flow_rescuer import FlowRescuer
from horae.errors import PrefectUnavailable, StartError, UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.flow_runs import run_flow, run_flow_in_turn
from horae.prefect.values import FlowRun
from horae.project.loading import load as load_registry
from horae.project.registry import Registry
from horae.runs import Verdict
from horae.settings import PrefectSettings, Settings, StoreSettings
from horae.store import connect
from horae.up.parts import Parts, What
from horae.up.prefect_parts import deploy, prepare, server_part, worker_part
from tests.model import ModelStore
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FLOW = '''
import os
import pathlib
import time

from prefect import flow


@flow(name="where")
def where(wanted: str = "nothing") -> None:
    """Says where it runs."""
    pathlib.Path("where.txt").write_text(f"{pathlib.Path.cwd()} {wanted}")
    if wanted == "sleep":
        pathlib.Path("sleeper").write_text(str(os.getpid()))
        time.sleep(600)
    if wanted == "wait":
        pathlib.Path("waiter").touch()
        while not pathlib.Path("let it end").exists():
            time.sleep(0.05)


@flow(retries=1)
def again() -> None:
    """Works at the second attempt."""
    tried = pathlib.Path("tried")
    if not tried.exists():
        tried.write_text(str(os.getpid()))
        time.sleep(600)
'''

# One cron deployment, as a user would write it; nothing in it names a path of this machine.
DEPLOYMENTS = """
name: trial
pull: []
deployments:
  - name: every-minute
    entrypoint: flows/where.py:where
    work_pool: {name: horae}
    schedules:
      - {cron: "* * * * *", timezone: UTC, slug: every-minute, active: true}
  - name: by-hand
    entrypoint: flows/where.py:where
    work_pool: {name: horae}
  - name: one-at-a-time
    entrypoint: flows/where.py:where
    work_pool: {name: horae}
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
  - name: again
    entrypoint: flows/where.py:again
    work_pool: {name: horae}
    concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
"""


@dataclass(frozen=True, kw_only=True)
class Trial:
    project: Path
    state: Path
    parts: Parts
    api: PrefectApi


@pytest.fixture(scope="module")
def module_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prefect") / "project"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "where.py").write_text(FLOW)
    (folder / "prefect.yaml").write_text(DEPLOYMENTS)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trial(module_project: Path) -> AsyncIterator[Trial]:
    state, port = module_project / ".horae", free_port()
    api_url = f"http://{LOOPBACK}:{port}/api"
    async with Parts(state) as parts, PrefectApi(api_url) as api:
        await parts.start(server_part(module_project, state, port))
        await prepare(api, module_project, "horae", ours=True)
        worker = worker_part(module_project, state, "horae", api_url, needs=("prefect-server",))
        await asyncio.gather(parts.start(worker), deploy(module_project, state, api_url))
        yield Trial(project=module_project, state=state, parts=parts, api=api)


async def deployment(trial: Trial, name: str) -> str:
    found = await trial.api.deployment_by_name(name)
    assert found
    return found.id


def pid(trial: Trial, name: str) -> int:
    [found] = [status.pid for status in trial.parts.status() if status.name == name]
    assert found
    return found


def children(parent: int) -> list[str]:
    """Linux tells; elsewhere there is nothing to ask."""
    told = Path(f"/proc/{parent}/task/{parent}/children")
    return told.read_text().split() if told.exists() else []


async def completed(trial: Trial, run_id: str, seconds: float = 30) -> FlowRun:
    async def settled() -> FlowRun | None:
        run = await trial.api.flow_run(run_id)
        return run if run and run.settled else None

    run = await wait_until(settled, "the flow run's end", seconds)
    assert run
    return run


async def test_scheduled_runs_of_a_cron_deployment_appear(trial: Trial) -> None:
    """The guard: with a SQLAlchemy or FastAPI that Prefect was not made for, they never do, in silence."""
    every_minute = await deployment(trial, "where/every-minute")

    async def scheduled() -> list[FlowRun]:
        return await trial.api.flow_runs([every_minute], since=clock.now())

    runs = await wait_until(scheduled, "scheduled runs", 15)
    assert all(run.auto_scheduled and run.expected_start.second == 0 for run in runs)
    assert [run.expected_start for run in runs] == sorted(run.expected_start for run in runs)


async def test_a_flow_run_works_in_the_project_folder(trial: Trial) -> None:
    by_hand = await deployment(trial, "where/by-hand")
    run = await completed(trial, await trial.api.create_flow_run(by_hand, {"wanted": "shoes"}))
    assert (run.state_type, run.auto_scheduled) == ("COMPLETED", False)
    assert (trial.project / "where.txt").read_text() == f"{trial.project} shoes"
    assert run.started
    assert run.ended
    listed = await trial.api.flow_runs([by_hand], since=run.expected_start, until=run.expected_start)
    assert [found.id for found in listed] == [run.id]
    assert await trial.api.flow_runs([by_hand], state_types=["CRASHED"]) == []


async def test_the_same_key_orders_one_run(trial: Trial) -> None:
    by_hand = await deployment(trial, "where/by-hand")
    first, second = [await trial.api.create_flow_run(by_hand, idempotency_key="once") for _ in range(2)]
    assert first == second
    await completed(trial, first)


async def test_pages_are_joined(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    every_minute = await deployment(trial, "where/every-minute")

    async def many() -> bool:
        return len(await trial.api.flow_runs([every_minute])) >= 3

    await wait_until(many, "three scheduled runs", 15)
    until = clock.now() + timedelta(minutes=3)
    whole = await trial.api.flow_runs([every_minute], until=until)
    monkeypatch.setattr("horae.prefect.api.PAGE", 1)
    assert [run.id for run in await trial.api.flow_runs([every_minute], until=until)] == [run.id for run in whole]


async def test_names_that_are_not_there(trial: Trial) -> None:
    assert await trial.api.deployment_by_name("where/nowhere") is None
    assert await trial.api.flow_run("00000000-0000-4000-8000-000000000000") is None
    with pytest.raises(UsageError, match="no deployment"):
        await trial.api.create_flow_run("00000000-0000-4000-8000-000000000000")
    by_hand = await deployment(trial, "where/by-hand")
    with pytest.raises(UsageError, match=r"refused POST /flow_runs/filter .*RUNING"):
        await trial.api.flow_runs([by_hand], state_types=["RUNING"])


async def test_preparing_again_changes_nothing(trial: Trial) -> None:
    await prepare(trial.api, trial.project, "horae", ours=True)
    await prepare(trial.api, trial.project, "horae", ours=False)


async def test_a_refused_deployment_is_told_with_prefects_words(trial: Trial, tmp_path: Path) -> None:
    shutil.copytree(trial.project / "flows", tmp_path / "flows")
    broken = DEPLOYMENTS.replace("where.py:where", "where.py:nowhere")
    (tmp_path / "prefect.yaml").write_text(broken)
    with pytest.raises(StartError, match=r"prefect deploy --all failed(.|\n)*nowhere"):
        await deploy(tmp_path, trial.state, trial.api.url)


async def test_the_server_is_one_process_and_comes_back_with_its_state_when_killed(trial: Trial) -> None:
    server = pid(trial, "prefect-server")
    assert children(server) == []
    by_hand = await deployment(trial, "where/by-hand")
    os.kill(server, signal.SIGKILL)

    async def back() -> bool:
        [status] = [status for status in trial.parts.status() if status.name == "prefect-server"]
        return status.restarts == 1 and status.what is What.READY

    await wait_until(back, "the server's return", 60)
    assert await deployment(trial, "where/by-hand") == by_hand
    assert (await completed(trial, await trial.api.create_flow_run(by_hand), 60)).state_type == "COMPLETED"


async def test_a_killed_worker_comes_back_and_works(trial: Trial) -> None:
    os.kill(pid(trial, "prefect-worker"), signal.SIGKILL)
    run = await trial.api.create_flow_run(await deployment(trial, "where/by-hand"))
    assert (await completed(trial, run, 60)).state_type == "COMPLETED"


async def test_a_start_waits_for_the_runs_that_are_on_and_a_newcomer_is_skipped(trial: Trial) -> None:
    one = await deployment(trial, "where/one-at-a-time")
    job = Job(name="where", tier=Tier.PREFECT, deployment="where/one-at-a-time")
    settings = Settings(project=trial.project, prefect=PrefectSettings(api_url=trial.api.url))
    first = await trial.api.create_flow_run(one, {"wanted": "wait"})
    await wait_until((trial.project / "waiter").exists, "the first run to be on", 30)
    start = asyncio.create_task(run_flow_in_turn(settings, job, "a-start"))
    newcomer = await run_flow(settings, job, {})
    assert (newcomer.verdict, newcomer.reason) == (Verdict.SKIPPED, "overlap")
    (trial.project / "let it end").touch()
    assert (await completed(trial, first)).state_type == "COMPLETED"
    assert (await start).verdict is Verdict.RAN
    runs = await trial.api.flow_runs([one], until=clock.now())
    assert [run.state_type for run in runs] == ["COMPLETED", "CANCELLED", "COMPLETED"]


async def test_its_database_stays_in_the_state_folder(trial: Trial) -> None:
    with sqlite3.connect(f"file:{trial.state / 'prefect/prefect.db'}?mode=ro", uri=True) as database:
        [(count,)] = database.execute("SELECT count(*) FROM deployment").fetchall()
    database.close()
    assert count == 4


async def test_a_paused_deployment_makes_no_run_and_the_store_hears_of_it(trial: Trial) -> None:
    every_minute = await deployment(trial, "where/every-minute")
    registry, store = Registry(), ModelStore()
    for job, name in (("every-minute", "where/every-minute"), ("by-hand", "where/by-hand"), ("gone", "where/gone")):
        registry.add(Job(name=job, tier=Tier.PREFECT, deployment=name))
    duty = FlowPauses(store, registry, trial.api)

    async def scheduled() -> list[FlowRun]:
        return await trial.api.flow_runs([every_minute], since=clock.now(), state_types=["SCHEDULED"])

    await wait_until(scheduled, "scheduled runs", 15)
    await trial.api.pause_deployment(every_minute)
    assert await scheduled() == []
    await store.pauses.pause("by-hand")  # resumed in Prefect's UI since
    await store.pauses.pause("gone")
    await duty.step()
    assert await store.pauses.paused() == {"every-minute", "gone"}
    await trial.api.resume_deployment(every_minute)
    await duty.step()
    assert await store.pauses.paused() == {"gone"}
    await wait_until(scheduled, "scheduled runs again", 15)

    await store.pauses.pause()
    await trial.api.pause_deployment(every_minute)
    await duty.step()
    assert await store.pauses.paused() == {"gone", None}, "paused with everything, and not by name"
    await trial.api.resume_deployment(every_minute)
    with pytest.raises(UsageError, match="no deployment"):
        await trial.api.pause_deployment("00000000-0000-4000-8000-000000000000")


async def test_a_flow_run_is_cancelled_before_it_begins_and_while_it_runs(trial: Trial) -> None:
    by_hand, sleeper = await deployment(trial, "where/by-hand"), trial.project / "sleeper"
    sleeper.unlink(missing_ok=True)
    run = await trial.api.create_flow_run(by_hand, {"wanted": "sleep"})
    await wait_until(lambda: sleeper.exists() and sleeper.read_text(), "the flow's process", 30)
    asked = await trial.api.cancel(run)
    assert asked
    assert asked.state_type in {"CANCELLING", "CANCELLED"}
    assert (await completed(trial, run, 60)).state_type == "CANCELLED"
    again = await trial.api.cancel(run)
    assert again
    assert again.state_type == "CANCELLED"
    sleeper.unlink()

    every_minute = await deployment(trial, "where/every-minute")

    async def scheduled() -> list[FlowRun]:
        return await trial.api.flow_runs([every_minute], since=clock.now() + timedelta(minutes=2))

    waits = (await wait_until(scheduled, "a run that is to come", 15))[-1]
    cancelled = await trial.api.cancel(waits.id)
    assert cancelled
    assert cancelled.state_type == "CANCELLED"
    assert await trial.api.cancel("00000000-0000-4000-8000-000000000000") is None


async def horae(trial: Trial, settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command line beside this Prefect."""
    assert settings.store.url
    own = {
        "HORAE_STORE__URL": settings.store.url.get_secret_value(),
        "HORAE_NAMESPACE": settings.namespace,
        "HORAE_PREFECT__API_URL": trial.api.url,
    }
    command = [sys.executable, "-m", "horae", "--project", str(trial.project), *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.requires("valkey")
async def test_flows_are_paused_shown_and_cancelled_from_the_command_line(
    trial: Trial, valkey_url: str, namespace: str
) -> None:
    settings = Settings(project=trial.project, namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))

    async def paused() -> set[str]:
        jobs = json.loads((await horae(trial, settings, "jobs", "--json")).stdout)
        return {job["name"] for job in jobs if job["paused"]}

    async def at_prefect(name: str) -> bool:
        found = await trial.api.deployment_by_name(f"where/{name}")
        return found is not None and found.paused

    done = await horae(trial, settings, "pause", "every-minute")
    assert "where/every-minute is paused" in done.stdout, done.stderr
    assert (await at_prefect("every-minute"), await at_prefect("by-hand")) == (True, False)
    assert await paused() == {"where/every-minute"}
    assert (await horae(trial, settings, "pause", "--all")).returncode == 0
    assert (await at_prefect("by-hand"), await paused()) == (
        True, {"where/every-minute", "where/by-hand", "where/one-at-a-time", "again/again"},
    )  # fmt: skip
    assert "still paused by name: where/every-minute" in (await horae(trial, settings, "resume", "--all")).stdout
    assert (await at_prefect("every-minute"), await at_prefect("by-hand")) == (True, False)
    assert "runs again" in (await horae(trial, settings, "resume", "every-minute")).stdout
    assert not await at_prefect("every-minute")

    sleeper = trial.project / "sleeper"
    sleeper.unlink(missing_ok=True)
    run = await trial.api.create_flow_run(await deployment(trial, "where/by-hand"), {"wanted": "sleep"})
    await wait_until(lambda: sleeper.exists() and sleeper.read_text(), "the flow's process", 60)
    async with connect(settings) as store:
        mirror = FlowMirror(store, load_registry(settings), trial.api, timedelta(days=30))
        await mirror.step()
        told = json.loads((await horae(trial, settings, "show", run, "--json")).stdout)
        assert (told["job"], told["tier"], told["state"]) == ("where/by-hand", "prefect", "running")
        assert {"recorded", "began"} <= {event["what"] for event in told["story"]}
        done = await horae(trial, settings, "cancel", run, "--wait", "60s", "--json")
        assert json.loads(done.stdout)["verdict"] == "cancelled", done.stderr
        await mirror.step()
        again = await horae(trial, settings, "cancel", run, "--json")
        assert json.loads(again.stdout)["outcome"] == "settled"
    sleeper.unlink()


async def test_nobody_there_is_said_with_the_address() -> None:
    url = f"http://{LOOPBACK}:{free_port()}/api"
    async with PrefectApi(url) as api:
        assert await api.health() is False
        with pytest.raises(PrefectUnavailable, match=url):
            await api.deployment_by_name("where/by-hand")


@pytest.mark.timeout(300)
async def test_a_run_whose_worker_and_process_were_both_killed_does_not_run_for_ever(trial: Trial) -> None:
    """The automation ends the one; the sidecar, which looks after the other, has it tried again as its flow says."""
    sleeper, tried = trial.project / "sleeper", trial.project / "tried"
    sleeper.unlink(missing_ok=True)
    run = await trial.api.create_flow_run(await deployment(trial, "where/by-hand"), {"wanted": "sleep"})
    again = await trial.api.create_flow_run(await deployment(trial, "again/again"))
    for process in (sleeper, tried):
        await wait_until(lambda file=process: file.exists() and file.read_text(), "the flow's process", 60)  # type: ignore[misc]

    async def beat() -> bool:
        return all([await trial.api.last_heartbeat(one) for one in (run, again)])

    await wait_until(beat, "their first heartbeats", 60)
    os.kill(pid(trial, "prefect-worker"), signal.SIGKILL)
    for process in (sleeper, tried):
        os.kill(int(process.read_text()), signal.SIGKILL)
    registry = Registry()
    registry.add(Job(name="again/again", tier=Tier.PREFECT, deployment="again/again"))
    rescuer = FlowRescuer(registry, trial.api)

    async def retried() -> bool:
        await rescuer.step()
        found = await trial.api.flow_run(again)
        return found is not None and found.run_count == 2

    await wait_until(retried, "the second attempt", 150)
    assert (await completed(trial, again, 60)).state_type == "COMPLETED"
    ended = await completed(trial, run, 150)
    assert (ended.state_type, "no heartbeat for 90 s" in ended.message) == ("CRASHED", True)
