"""The specification's flow snippets deploy to a real Prefect server, which then schedules them."""

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.up.parts import Parts
from horae.up.prefect_parts import environment, prepare, server_part
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
EXPECTED = {
    "user-workflow/user-workflow-prod": 2,
    "complex-etl/complex-etl-prod": 6,
    "daily-code-sweep/code-sweep-prod": 2,
}
"""The hour of each deployment's fires."""


@pytest.mark.timeout(300)
async def test_the_flow_snippets_deploy_and_are_scheduled(project: Path) -> None:
    state, port = project / ".horae", free_port()
    api_url = f"http://{LOOPBACK}:{port}/api"
    async with Parts(state) as parts, PrefectApi(api_url) as api:
        await parts.start(server_part(project, state, port))
        await prepare(api, project, "horae", ours=True)
        await deploy(project, api_url)
        for name, hour in EXPECTED.items():
            deployment = await api.deployment_by_name(name)
            assert deployment, name

            async def scheduled(id: str = deployment.id) -> list[FlowRun]:
                now = datetime.now(UTC)
                return await api.flow_runs([id], since=now, until=now + timedelta(days=8))

            runs = await wait_until(scheduled, f"scheduled runs of {name}", seconds=30)
            assert {run.expected_start.hour for run in runs} == {hour}
            assert all(run.auto_scheduled for run in runs)
        etl = await api.deployment_by_name("complex-etl/complex-etl-prod")
        assert etl
        runs = await api.flow_runs([etl.id])
        assert {run.expected_start.weekday() for run in runs} == {0}, "`0 6 * * 1` is Monday"
        before = await written(api)
        said = await deploy(project, api_url)
        assert await written(api) == before, f"an unchanged deployment is not written from code either: {said}"


async def deploy(project: Path, api_url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.specification_flows", str(project)),
        cwd=ROOT,
        env=os.environ | environment(project / ".horae", api_url),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, said.decode()[-4000:]
    return said.decode()


async def written(api: PrefectApi) -> dict[str, list[str]]:
    """The ids of each deployment's schedules: a write makes new ones. Prefect itself changes `updated` now and then."""
    found = {name: await api.deployment_json(name) for name in EXPECTED}
    return {name: [schedule["id"] for schedule in one["schedules"]] for name, one in found.items() if one}
