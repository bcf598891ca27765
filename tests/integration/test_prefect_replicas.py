"""Prefect as a team runs it: two server replicas on one PostgreSQL, with Redis messaging. Deploy, schedule, run, mirror
and events work on either replica, and when one is killed.
"""

import asyncio
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
import pytest_asyncio
from pydantic import SecretStr

from horae import clock
from horae.duties.flow_mirror import FlowMirror
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.project.registry import Registry
from horae.runs import Run, Verdict
from horae.settings import Settings, StoreSettings
from horae.store import connect
from horae.up.parts import Parts
from horae.up.prefect_parts import deploy, prepare, server_part, worker_part
from tests.postgres_server import postgres_server
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.requires("valkey"),
    pytest.mark.requires("postgres"),
    pytest.mark.timeout(240),
]
FLOW = '''
from prefect import flow


@flow
def told() -> str:
    """Ends at once."""
    return "told"
'''
FILE = """
name: replicas
pull: []
deployments:
  - name: hourly
    entrypoint: flows/told.py:told
    schedules: [{slug: hourly, cron: "0 * * * *", timezone: UTC}]
    concurrency_limit: {limit: 1, collision_strategy: ENQUEUE}
    work_pool: {name: warm}
"""
JOB = Job(name="told/hourly", tier=Tier.PREFECT, deployment="told/hourly")


@dataclass(frozen=True, kw_only=True)
class Replicas:
    parts: Parts
    left: PrefectApi
    right: PrefectApi
    settings: Settings

    async def started(self, api: PrefectApi) -> str:
        found = await api.deployment_by_name("told/hourly")
        assert found
        return await api.create_flow_run(found.id)

    async def completed(self, api: PrefectApi, run_id: str) -> FlowRun:
        async def ended() -> FlowRun | None:
            run = await api.flow_run(run_id)
            return run if run and run.settled else None

        run = await wait_until(ended, "the flow run's end", 60)
        assert run
        assert run.state_type == "COMPLETED", run
        return run


def messaging(redis_url: str, database: str) -> dict[str, str]:
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database,
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_URL": redis_url,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> AsyncIterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    project = folder / "project"
    (project / "flows").mkdir(parents=True)
    (project / "flows/told.py").write_text(FLOW)
    (project / "prefect.yaml").write_text(FILE)
    state, ports = project / ".horae", (free_port(), free_port())
    left, right = (f"http://{LOOPBACK}:{port}/api" for port in ports)
    async with AsyncExitStack() as stack:
        database = stack.enter_context(postgres_server(folder)).replace("postgresql://", "postgresql+asyncpg://")
        parts = await stack.enter_async_context(Parts(state))
        for name, port in zip(("left", "right"), ports, strict=True):
            part = server_part(project, state, port)
            # One after the other: both would create the tables.
            await parts.start(replace(part, name=name, env={**part.env, **messaging(valkey_url, database)}))
        apis = [await stack.enter_async_context(PrefectApi(url)) for url in (left, right)]
        kind = await prepare(apis[0], project, "warm", ours=True, worker="horae-warm")
        worker = worker_part(project, state, "warm", right, needs=("right",), worker=kind)
        worker = replace(worker, env={**worker.env, "PREFECT_WORKER_QUERY_SECONDS": "120"})
        await asyncio.gather(parts.start(worker), deploy(project, state, left))
        settings = Settings(namespace=f"t{uuid.uuid4().hex[:12]}", store=StoreSettings(url=SecretStr(valkey_url)))
        yield Replicas(parts=parts, left=apis[0], right=apis[1], settings=settings)


async def test_what_one_replica_schedules_the_other_shows(replicas: Replicas) -> None:
    found = await replicas.right.deployment_by_name("told/hourly")
    assert found

    async def scheduled() -> list[FlowRun]:
        runs = await replicas.right.flow_runs([found.id], since=clock.now())
        return [run for run in runs if run.auto_scheduled]

    assert await wait_until(scheduled, "scheduled runs", 30)


async def test_a_run_of_one_replica_is_heard_of_at_the_other_and_mirrored(replicas: Replicas) -> None:
    """The worker listens at the right replica and asks only every two minutes by itself."""
    run = await replicas.completed(replicas.right, await replicas.started(replicas.left))
    registry = Registry()
    registry.add(JOB)
    async with connect(replicas.settings) as store:
        mirror = FlowMirror(store, registry, replicas.right, timedelta(days=1))

        async def mirrored() -> list[Run]:
            await mirror.step()
            return [one for one in await store.ledger.runs(job=JOB.name) if one.run_id == run.id]

        [row] = await wait_until(mirrored, "the row in the ledger", 30)
        assert row.verdict is Verdict.RAN


async def test_without_one_replica_the_other_goes_on(replicas: Replicas) -> None:
    before = {status.name: status.pid for status in replicas.parts.status()}
    pid = before["left"]
    assert pid
    os.kill(pid, signal.SIGKILL)
    await replicas.completed(replicas.right, await replicas.started(replicas.right))
    back = {status.name: status.pid for status in replicas.parts.status()}
    assert back["right"] == before["right"]

    async def answers() -> bool:
        try:
            return bool(await replicas.left.deployment_by_name("told/hourly"))
        except Exception:
            return False

    await wait_until(answers, "the killed replica to be back", 60)
    await replicas.completed(replicas.left, await replicas.started(replicas.left))
