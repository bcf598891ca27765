"""The internal jobs that ask Prefect, on a real server."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from horae import Cause, Run, RunContext, Settings, State, Tier
from horae.jobs.context import running
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.reasons import Reason
from horae.runs import new_run_id
from horae.settings import PrefectSettings, load
from horae.store import connect
from horae.up.parts import Parts
from horae.up.prefect_parts import server_part
from internal._heartbeat.processes import Beat, look_at_workers
from internal._heartbeat.settings import HeartbeatSettings
from internal._metrics.measurements import Measured, measure, prefect
from internal._metrics.settings import MetricsSettings
from internal.dlq_processing import dlq_processing
from internal.heartbeat import heartbeat
from tests.ping_server import ping_server
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]
POOL = "horae"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[PrefectApi]:
    folder, port = tmp_path_factory.mktemp("prefect"), free_port()
    async with Parts(folder) as parts, PrefectApi(f"http://{LOOPBACK}:{port}/api") as opened:
        await parts.start(server_part(folder, folder / ".horae", port))
        yield opened


async def add_pool(api: PrefectApi) -> None:
    await api.ensure_work_pool(POOL, await api.default_job_template())


async def work(api: PrefectApi, worker: str) -> None:
    """A worker says that it is there, as Prefect's own does every 30 seconds."""
    async with httpx.AsyncClient() as client:
        beat = {"name": worker, "heartbeat_interval_seconds": 30}
        answer = await client.post(f"{api.url}/work_pools/{POOL}/workers/heartbeat", json=beat)
        answer.raise_for_status()


async def workers(settings: Settings, own: HeartbeatSettings) -> Beat:
    """What the heartbeat sees, once the server of a busy machine answers in time."""

    async def answered() -> Beat | None:
        found = await look_at_workers(settings, own)
        return found if found and "did not answer" not in found.detail else None

    found = await wait_until(answered, "Prefect to answer in time", 60)
    assert found
    return found


async def test_prefect_says_how_many_workers_are_online(api: PrefectApi, project: Path) -> None:
    settings = Settings(project=project, prefect=PrefectSettings(api_url=api.url))
    one, two = HeartbeatSettings(), HeartbeatSettings(prefect_workers=2)
    found = await workers(settings, one)
    assert (found.alive, found.detail) == (False, "Prefect has no work pool 'horae'")
    await add_pool(api)
    assert await api.online_workers(POOL) == []
    await work(api, "first")
    assert await api.online_workers(POOL) == ["first"]
    alive, short = await workers(settings, one), await workers(settings, two)
    assert (alive.alive, short.alive) == (True, False)
    assert short.detail == "1 of 2 online in the work pool 'horae'"
    assert await look_at_workers(settings, HeartbeatSettings(prefect_workers=0)) is None


async def test_silence_and_return_are_one_event_each(
    api: PrefectApi, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", api.url)
    await add_pool(api)
    with ping_server() as web:  # any server that is no Horae process
        base = web.url.rpartition("/")[0]
        own = HeartbeatSettings(silent_after_seconds=0.1, prefect_workers=0, processes={"shop-worker": base})
        with running(RunContext(job="heartbeat", run_id="r", project=project, settings=own)):

            async def silent() -> bool:
                return (await heartbeat())["ok"] is False

            await wait_until(silent, "the process to be silent")
            await heartbeat()
            await heartbeat()

    async def told() -> list[str]:
        wanted = {"filter": {"event": {"prefix": ["horae.process"]}}, "limit": 50}
        async with httpx.AsyncClient() as client:
            found = (await client.post(f"{api.url}/events/filter", json=wanted)).json()["events"]
        return [f"{one['event']} {one['payload']['process']}" for one in found]

    assert await wait_until(told, "the event in Prefect's feed") == ["horae.process.silent shop-worker"]


async def test_an_event_waits_while_prefect_is_away(
    api: PrefectApi, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"http://{LOOPBACK}:{free_port()}"
    own = HeartbeatSettings(silent_after_seconds=0.1, prefect_workers=0, processes={"late-worker": gone})
    told: list[str] = []
    context = RunContext(job="heartbeat", run_id="r", project=project, settings=own, report=told.append)
    monkeypatch.setenv("PREFECT_API_URL", f"{gone}/api")
    with running(context):

        async def waits() -> bool:
            return any("1 events wait" in line for line in (await heartbeat())["unseen"])

        await wait_until(waits, "an event that waits")
        assert told[-1].startswith("1 events wait for Prefect")
        monkeypatch.setenv("PREFECT_API_URL", api.url)

        async def told_now() -> bool:
            return not (await heartbeat())["unseen"]

        await wait_until(told_now, "Prefect to take the event", 60)


@pytest.mark.requires("valkey")
async def test_dead_letters_are_raised_once_also_when_prefect_was_away(
    api: PrefectApi, project: Path, valkey_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HORAE_STORE__URL", valkey_url)
    monkeypatch.setenv("HORAE_NAMESPACE", namespace)
    monkeypatch.setenv("PREFECT_API_URL", f"http://{LOOPBACK}:{free_port()}/api")
    told: list[str] = []
    context = RunContext(job="dlq-processing", run_id="r", project=project, report=told.append)

    async def look() -> dict[str, Any]:
        """One run, and its result where the sidecar puts it."""
        with running(context):
            result = await dlq_processing()
        row = Run(run_id=new_run_id(), job="dlq-processing", tier=Tier.APSCHEDULER, cause=Cause.MANUAL, state=State.RAN)
        async with connect(load(project)) as store:
            await store.ledger.record([replace(row, result=result, ended_at=await store.now())])
        return result

    async with connect(load(project)) as store:
        await store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
    first = await look()
    assert told[-1].startswith("1 events wait for Prefect")
    assert len(first["untold"]) == 1
    monkeypatch.setenv("PREFECT_API_URL", api.url)

    async def taken() -> bool:
        return not (await look())["untold"]

    await wait_until(taken, "Prefect to take the event", 60)
    await look()
    assert told[-1] == "1 dead letters: 0 replayed, 0 groups reported"

    async def events() -> list[str]:
        wanted = {"filter": {"event": {"prefix": ["horae.dead_letters"]}}, "limit": 50}
        async with httpx.AsyncClient() as client:
            found = (await client.post(f"{api.url}/events/filter", json=wanted)).json()["events"]
        return [str(one["payload"]["cause"]) for one in found]

    assert await wait_until(events, "the event in Prefect's feed") == ["(no message): invalid message"]


async def test_late_flow_runs_are_counted(api: PrefectApi, project: Path) -> None:
    async def late(url: str) -> Measured:
        settings = Settings(project=project, prefect=PrefectSettings(api_url=url))
        [found] = await measure(settings, MetricsSettings(), {"prefect": prefect})
        return found

    assert (await late(api.url)).figures == {"late_flow_runs": 0}
    async with httpx.AsyncClient() as client:
        flow = (await client.post(f"{api.url}/flows/", json={"name": "late"})).json()["id"]
        body = {"flow_id": flow, "state": {"type": "SCHEDULED", "name": "Late"}}
        (await client.post(f"{api.url}/flow_runs/", json=body)).raise_for_status()
    assert (await late(api.url)).figures == {"late_flow_runs": 1}
    gone = await late(f"http://{LOOPBACK}:{free_port()}/api")
    assert (gone.ok, gone.figures) == (False, {})
    with ping_server() as other:
        wrong = await late(other.url)
    assert (wrong.ok, wrong.figures) == (False, {})


async def test_a_wrong_key_is_no_proof_of_life(project: Path) -> None:
    with ping_server() as refusing:
        refusing.status = 401
        key = PrefectSettings(api_url=refusing.url, api_key=SecretStr("s3cret"))
        found = await look_at_workers(Settings(project=project, prefect=key), HeartbeatSettings())
    assert found
    assert (found.alive, "refuses the API key" in found.detail, "s3cret" in found.detail) == (False, True, False)
