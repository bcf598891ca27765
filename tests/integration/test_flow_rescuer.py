"""Flow runs whose process is gone free their deployment, on a real server that was killed in between."""

import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from horae import clock
from horae.duties import flow_rescuer
from horae.duties.flow_rescuer import FlowRescuer
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.project.registry import Registry
from horae.up.parts import Parts, What
from horae.up.prefect_parts import deploy, prepare, server_part
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

FLOW = "from prefect import flow\n\n@flow\ndef one() -> None:\n    ...\n"
NAMES = ("pending", "running", "mute", "retried", "cancelling")
ENTRY = """  - name: {name}
    entrypoint: flows/one.py:one
    work_pool: {{name: horae}}
    concurrency_limit: {{limit: 1, collision_strategy: CANCEL_NEW}}
"""


@dataclass(frozen=True, kw_only=True)
class Server:
    parts: Parts
    api: PrefectApi
    state: Path
    registry: Registry

    async def id(self, name: str) -> str:
        found = await self.api.deployment_by_name(f"one/{name}")
        assert found
        return found.id

    async def run(self, name: str) -> FlowRun:
        """Its only run."""
        [run] = await self.api.flow_runs([await self.id(name)])
        return run

    async def order(self, name: str, *states: str) -> str:
        """A run that a worker took through these states."""
        run = await self.api.create_flow_run(await self.id(name))
        for state in states:
            await self.api.set_state(run, state, state.title(), "")
        return run

    async def beat(self, run: str) -> None:
        event: dict[str, Any] = {
            "id": str(uuid4()),
            "occurred": clock.isoformat(clock.now()),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
        }
        await self.api.emit_events([event])
        await wait_until(lambda: self.api.last_heartbeat(run), "the heartbeat", 20)

    async def restart(self) -> None:
        """kill -9, and with it what the server kept in memory alone: who holds a slot."""
        [before] = self.parts.status()
        assert before.pid
        os.kill(before.pid, signal.SIGKILL)
        shutil.rmtree(self.state / "prefect/concurrency_leases", ignore_errors=True)

        def back() -> bool:
            [now] = self.parts.status()
            return now.restarts > before.restarts and now.what is What.READY

        await wait_until(back, "the server's return", 90)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    project = tmp_path_factory.mktemp("rescuer")
    (project / "flows").mkdir()
    (project / "flows/one.py").write_text(FLOW)
    (project / "prefect.yaml").write_text("pull: []\ndeployments:\n" + "".join(ENTRY.format(name=n) for n in NAMES))
    state, port, registry = project / ".horae", free_port(), Registry()
    for name in NAMES:
        registry.add(Job(name=f"one/{name}", tier=Tier.PREFECT, deployment=f"one/{name}"))
    async with Parts(state) as parts, PrefectApi(f"http://{LOOPBACK}:{port}/api") as api:
        await parts.start(server_part(project, state, port))
        await prepare(api, project, "horae", ours=True)
        await deploy(project, state, api.url)
        yield Server(parts=parts, api=api, state=state, registry=registry)


async def test_what_a_restart_left_blocks_no_deployment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {
        "pending": await server.order("pending", "PENDING"),
        "running": await server.order("running", "PENDING", "RUNNING"),
        "mute": await server.order("mute", "PENDING", "RUNNING"),
        "retried": await server.order("retried", "PENDING", "RUNNING"),
        "cancelling": await server.order("cancelling", "PENDING", "RUNNING", "CANCELLING"),
    }
    await server.api._http.ask("PATCH", f"/flow_runs/{runs['retried']}", {"empirical_policy": {"retries": 1}})
    for name in ("running", "retried", "cancelling"):
        await server.beat(runs[name])
    await server.restart()

    async def next_one(name: str) -> str:
        """What becomes of the next run, when a worker takes it."""
        return await server.api.set_state(await server.order(name), "PENDING", "Pending", "")

    assert await next_one("pending") == "CANCELLED", "the fault: the run that nobody works on holds the only slot"
    rescuer = FlowRescuer(server.registry, server.api)
    await rescuer.step()
    assert {(await server.api.flow_run(run)).state_type for run in runs.values()} == {  # type: ignore[union-attr]
        "PENDING", "RUNNING", "CANCELLING",
    }, "nobody is judged before the time"  # fmt: skip

    monkeypatch.setattr(flow_rescuer, "START_GRACE", timedelta(0))
    monkeypatch.setattr(flow_rescuer, "SILENT", timedelta(seconds=1))
    rescuer._looked_up = None

    async def settled() -> bool:
        await rescuer.step()
        states = {name: await server.api.flow_run(run) for name, run in runs.items()}
        return {name: state.state_name for name, state in states.items() if state} == {
            "pending": "Crashed",
            "running": "Crashed",
            "mute": "Running",
            "retried": "AwaitingRetry",
            "cancelling": "Cancelled",
        }

    await wait_until(settled, "their ends", 20)
    for name in ("pending", "running", "cancelling"):
        assert await next_one(name) == "PENDING", f"{name} is free"
    found = await server.api.flow_run(runs["running"])
    assert found
    assert "no heartbeat for" in found.message


async def test_an_outage_of_prefect_ends_no_run(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could send a heartbeat while the server was away."""
    monkeypatch.setattr(flow_rescuer, "SILENT", timedelta(seconds=3))
    run = (await server.run("mute")).id
    await server.beat(run)
    rescuer = FlowRescuer(server.registry, server.api)
    last = await server.api.last_heartbeat(run)
    assert last
    await wait_until(lambda: clock.now() - last > timedelta(seconds=3), "the silence to be long enough", 10)
    await rescuer.step()
    assert (await server.run("mute")).state_type == "RUNNING", "it has been watched for no time"

    async def ended() -> bool:
        await rescuer.step()
        return (await server.run("mute")).state_type == "CRASHED"

    await wait_until(ended, "its end", 20)
