"""What Horae says of flows and to Prefect, on a real Prefect server: each fire its verdict, each notice an event."""

import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from horae.clock import now
from horae.duties import flow_mirror
from horae.duties.announcer import Announcer
from horae.duties.flow_mirror import FlowMirror
from horae.errors import PrefectUnavailable
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.project.registry import Registry
from horae.reasons import Reason
from horae.runs import Cause, Run, State, fire_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.redis import RedisStore
from horae.store.values import Happening, Notice
from horae.up.parts import Parts
from horae.up.prefect_parts import server_part
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180), pytest.mark.requires("valkey")]

SWEEP = Job(name="sweep", tier=Tier.PREFECT, deployment="sweep/sweep")
KEEP = timedelta(days=30)
SECOND = timedelta(seconds=1)


@dataclass(kw_only=True)
class Prefect:
    """A server of its own, which may be stopped, emptied and started again on the same port."""

    folder: Path
    port: int = field(default_factory=free_port)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}/api"

    async def start(self) -> None:
        parts = await self._stack.enter_async_context(Parts(self.folder))
        await parts.start(server_part(self.folder, self.folder, self.port))

    async def stop(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def prefect(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prefect]:
    server = Prefect(folder=tmp_path_factory.mktemp("saying"))
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def api(prefect: Prefect) -> AsyncIterator[PrefectApi]:
    async with PrefectApi(prefect.url) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def store(valkey_url: str, namespace: str) -> AsyncIterator[Store]:
    opened = RedisStore(valkey_url, namespace, StoreSettings())
    yield opened
    await opened.close()


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks overlap by a second, and what waits is asked for each time."""
    monkeypatch.setattr(flow_mirror, "OVERLAP", SECOND)
    monkeypatch.setattr(flow_mirror, "WAITING_SECONDS", 0.0)
    monkeypatch.setattr(flow_mirror, "RECALL_AFTER", timedelta(0), raising=False)
    monkeypatch.setattr(flow_mirror, "RECALL_SECONDS", 0.0, raising=False)


async def deploy(api: PrefectApi, seconds: int = 1) -> str:
    """A deployment that fires so often and has no worker; anything of an earlier test is gone."""
    flow = await api._http.ask("POST", "/flows/", {"name": "sweep"})
    if earlier := await api.deployment_by_name("sweep/sweep"):
        await api._http.ask("DELETE", f"/deployments/{earlier.id}")
    schedule = {"schedule": {"interval": seconds}, "active": True}
    body = {"name": "sweep", "flow_id": flow["id"], "schedules": [schedule]}
    return str((await api._http.ask("POST", "/deployments/", body))["id"])


async def due(api: PrefectApi, deployment: str, many: int = 1) -> list[FlowRun]:
    """The first fires of a deployment, once so many are due."""

    async def found() -> list[FlowRun]:
        runs = await api.flow_runs([deployment], until=now())
        return runs if len(runs) >= many else []

    return (await wait_until(found, f"{many} fires to be due", 30))[:many]


async def becomes(api: PrefectApi, run: FlowRun, type: str) -> None:
    await api._http.ask("POST", f"/flow_runs/{run.id}/set_state", {"state": {"type": type}, "force": True})


def mirror(store: Store, api: PrefectApi, job: Job = SWEEP) -> FlowMirror:
    registry = Registry()
    registry.add(job)
    return FlowMirror(store, registry, api, KEEP)


async def row(store: Store, run: FlowRun) -> Run | None:
    return await store.ledger.run(fire_id(store.namespace, "sweep", run.expected_start))


async def ends(store: Store, looking: FlowMirror, id: str) -> tuple[State, Reason | None]:
    """Look on until that run has its verdict."""

    async def settled() -> Run | None:
        await looking.step()
        found = await store.ledger.run(id)
        return found if found and found.state.settled else None

    found = await wait_until(settled, "a verdict", 20)
    assert found
    return found.state, found.reason


def fire_of(store: Store, run: FlowRun) -> str:
    return fire_id(store.namespace, "sweep", run.expected_start)


async def test_a_fire_that_prefect_never_begins_is_missed_and_what_begins_later_is_a_run_of_its_own(
    store: Store, api: PrefectApi
) -> None:
    [first] = await due(api, await deploy(api))
    looking = mirror(store, api, Job(name="sweep", tier=Tier.PREFECT, deployment="sweep/sweep", catch_up_window=SECOND))
    await looking.step()
    early = await row(store, first)
    assert early
    assert early.state in {State.QUEUED, State.MISSED}
    assert await ends(store, looking, fire_of(store, first)) == (State.MISSED, "not started")
    await becomes(api, first, "RUNNING")
    await becomes(api, first, "COMPLETED")
    assert await ends(store, looking, first.id) == (State.RAN, None)
    late = await store.ledger.run(first.id)
    assert late
    assert (late.cause, late.scheduled_for) == (Cause.BACKFILL, None)
    assert (await store.ledger.run(fire_of(store, first))).state is State.MISSED  # type: ignore[union-attr]


async def test_what_is_deleted_in_prefect_has_a_verdict_too(store: Store, api: PrefectApi) -> None:
    waits, runs = await due(api, await deploy(api), 2)
    await becomes(api, runs, "RUNNING")
    looking = mirror(store, api)
    await looking.step()
    assert [found and found.state for found in [await row(store, run) for run in (waits, runs)]] == [
        State.QUEUED,
        State.RUNNING,
    ]
    for run in (waits, runs):
        await api._http.ask("DELETE", f"/flow_runs/{run.id}")
    assert await ends(store, looking, fire_of(store, waits)) == (State.MISSED, "deleted")
    assert await ends(store, looking, fire_of(store, runs)) == (State.CANCELLED, "deleted")


async def test_pausing_a_deployment_deletes_what_is_late_and_that_is_missed(store: Store, api: PrefectApi) -> None:
    deployment = await deploy(api)
    [first] = await due(api, deployment)
    looking = mirror(store, api)
    await looking.step()
    await api._http.ask("POST", f"/deployments/{deployment}/pause_deployment")
    assert await ends(store, looking, fire_of(store, first)) == (State.MISSED, "deleted")


async def test_what_ended_while_no_sidecar_looked_is_found_however_long_ago(
    store: Store, api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_mirror, "LOOK_BACK", timedelta(0))
    runs = await due(api, await deploy(api), 3)
    await mirror(store, api).step()
    await becomes(api, runs[0], "COMPLETED")
    # Everything that the first look will list begins later than these three.
    [*_, last] = await due(api, runs[0].deployment_id or "", 6)

    async def another_is_newest() -> bool:
        await mirror(store, api).step()
        return await row(store, last) is not None

    await wait_until(another_is_newest, "later fires to be mirrored", 20)
    await becomes(api, runs[1], "CRASHED")
    await api._http.ask("DELETE", f"/flow_runs/{runs[2].id}")
    restarted = mirror(store, api)
    assert await ends(store, restarted, fire_of(store, runs[0])) == (State.RAN, None)
    assert await ends(store, restarted, fire_of(store, runs[1])) == (State.FAILED, "crashed")
    assert await ends(store, restarted, fire_of(store, runs[2])) == (State.MISSED, "deleted")


@pytest.mark.parametrize("known", [True, False], ids=["declared", "no longer declared"])
async def test_what_a_restored_prefect_no_longer_has_does_not_stay_running(
    store: Store, api: PrefectApi, known: bool
) -> None:
    """The sidecar was restarted too, and the run is well within its first look."""
    [run] = await due(api, await deploy(api))
    await becomes(api, run, "RUNNING")
    await mirror(store, api).step()
    before = await row(store, run)
    assert before
    assert before.state is State.RUNNING
    await api._http.ask("DELETE", f"/flow_runs/{run.id}")
    other = Job(name="other", tier=Tier.PREFECT, deployment="other/other")
    restarted = mirror(store, api, SWEEP if known else other)
    assert await ends(store, restarted, fire_of(store, run)) == (State.CANCELLED, "deleted")


async def test_what_another_process_wrote_is_asked_for(store: Store, api: PrefectApi) -> None:
    [run] = await due(api, await deploy(api))
    await becomes(api, run, "RUNNING")
    looking = mirror(store, api, Job(name="other", tier=Tier.PREFECT, deployment="other/other"))
    await looking.step()
    await mirror(store, api).step()
    await becomes(api, run, "COMPLETED")
    assert await ends(store, looking, fire_of(store, run)) == (State.RAN, None)


async def test_more_than_one_look_can_hold_is_seen_in_several(
    store: Store, api: PrefectApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("horae.prefect.api.PAGE", 2)
    monkeypatch.setattr(flow_mirror, "ENOUGH", 4)
    runs = await due(api, await deploy(api), 9)
    looking = mirror(store, api)
    waits = [await looking.step() for _ in range(2)]
    assert waits == [0.0, 0.0]

    async def all_there() -> bool:
        await looking.step()
        return None not in [await row(store, run) for run in runs]

    await wait_until(all_there, "every fire to be in the ledger")


async def events(api: PrefectApi, prefix: str) -> list[dict[str, Any]]:
    found = await api._http.ask("POST", "/events/filter", {"filter": {"event": {"prefix": [prefix]}}, "limit": 50})
    return list(found["events"])


def notice(what: Happening, job: str, run_id: str, reason: Reason | None = None, note: str = "") -> Notice:
    return Notice(what=what, run_id=run_id, job=job, at=now(), scheduled_for=now(), reason=reason, note=note)


async def test_notices_show_in_prefects_feed_and_set_off_automations(store: Store, api: PrefectApi) -> None:
    automation = {
        "name": f"tell somebody {store.namespace}",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": ["horae.fire.missed"],
            "match_related": {"prefect.resource.id": f"horae.job.{store.namespace}"},
            "threshold": 1,
            "within": 0,
        },
        "actions": [{"type": "do-nothing"}],
    }
    await api._http.ask("POST", "/automations/", automation)
    await store.notices.put_back(
        [
            notice(Happening.MISSED, store.namespace, "r1", Reason.SUPERSEDED),
            notice(Happening.FAILED, "backup", "r2", Reason.RAISED),
            notice(Happening.LATE, "backup", "r2", None, "90 s late"),
            notice(Happening.FAILED, "", "r3", Reason.INVALID_MESSAGE, "not JSON"),
        ]
    )
    announcer = Announcer(store, api)
    assert await announcer.step() > 0
    assert await store.notices.take(10) == []

    async def told() -> list[dict[str, Any]]:
        found = [one for one in await events(api, "horae.") if one["resource"]["horae.namespace"] == store.namespace]
        return found if len(found) == 4 else []

    found = {(one["event"], one["payload"]["run_id"]): one for one in await wait_until(told, "the events", 20)}
    assert found.keys() == {
        ("horae.fire.missed", "r1"),
        ("horae.fire.failed", "r2"),
        ("horae.fire.late", "r2"),
        ("horae.fire.failed", "r3"),
    }
    late = found["horae.fire.late", "r2"]
    assert late["resource"]["prefect.resource.id"] == "horae.run.r2"
    assert [related["prefect.resource.id"] for related in late["related"]] == ["horae.job.backup"]
    assert (late["payload"]["reason"], late["payload"]["note"]) == (None, "90 s late")

    number = count(4)

    async def triggered() -> bool:
        # The server takes a moment until it knows a new automation.
        await store.notices.put_back([notice(Happening.MISSED, store.namespace, f"r{next(number)}")])
        await announcer.step()
        return any(
            one["resource"].get("prefect.resource.name") == automation["name"]
            for one in await events(api, "prefect.automation.triggered")
        )

    await wait_until(triggered, "the automation", 20)


async def test_an_event_told_twice_is_stored_once_and_one_that_prefect_refuses_is_let_go(
    store: Store, api: PrefectApi, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = notice(Happening.FAILED, "backup", "good"), notice(Happening.FAILED, "backup", "b" * 2_000_000)
    announcer = Announcer(store, api)
    for batch in ([good], [good, bad], [notice(Happening.FAILED, "backup", "after")]):
        await store.notices.put_back(batch)
        await announcer.step()

    async def told() -> list[str]:
        found = [one for one in await events(api, "horae.") if one["resource"]["horae.namespace"] == store.namespace]
        runs = [one["payload"]["run_id"] for one in found]
        return sorted(runs) if "after" in runs else []

    assert (await wait_until(told, "the last event", 20))[:1] == ["after"]
    assert sorted(await told()).count("good") == 1


async def test_while_prefect_is_away_notices_wait_and_afterwards_an_empty_prefect_is_understood(
    store: Store, api: PrefectApi, prefect: Prefect, caplog: pytest.LogCaptureFixture
) -> None:
    [first] = await due(api, await deploy(api))
    looking = mirror(store, api)
    await looking.step()
    await prefect.stop()
    announcer = Announcer(store, api)
    await store.notices.put_back([notice(Happening.MISSED, "backup", "r9")])
    for _ in range(2):
        with pytest.raises(PrefectUnavailable):
            await announcer.step()
    assert [record.__dict__["action"] for record in caplog.records if "backup" in record.message] == ["fire_missed"]
    with pytest.raises(PrefectUnavailable):
        await looking.step()
    shutil.rmtree(prefect.folder / "prefect")
    await prefect.start()
    again = await deploy(api)
    await announcer.step()
    assert [one.run_id for one in await store.notices.take(10)] == []
    assert await wait_until(lambda: events(api, "horae.fire.missed"), "the event", 20)
    assert await ends(store, looking, fire_of(store, first)) == (State.MISSED, "deleted")
    [anew] = await due(api, again)
    await becomes(api, anew, "COMPLETED")
    assert await ends(store, looking, fire_of(store, anew)) == (State.RAN, None)


async def test_without_prefect_a_notice_is_a_line_in_the_log(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    await store.notices.put_back([notice(Happening.MISSED, "backup", "r1", Reason.SUPERSEDED)])
    await Announcer(store, None).step()
    [record] = [record for record in caplog.records if record.name == "horae.duties.announcer"]
    told = {key: record.__dict__[key] for key in ("action", "job", "run_id", "levelname")}
    assert told == {"action": "fire_missed", "job": "backup", "run_id": "r1", "levelname": "WARNING"}
    assert record.message.endswith("missed: superseded")
    assert await store.notices.take(1) == []
