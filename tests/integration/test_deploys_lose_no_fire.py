"""Deploys on a real server: what has not changed is not written, and no fire is lost or made twice."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from horae import clock
from horae.duties.late_flows import LATE, LateFlows
from horae.local.ports import LOOPBACK, free_port
from horae.prefect.api import PrefectApi
from horae.prefect.deployed import leftovers
from horae.prefect.near_fires import NEAR, make_again, wait_past
from horae.prefect.rows import mirrored
from horae.prefect.values import FlowRun
from horae.project.loading import load as load_registry
from horae.runs import Verdict
from horae.settings import PrefectSettings, Settings
from horae.up.parts import Parts
from horae.up.prefect_parts import deploy, environment, prepare, server_part
from tests.waiting import wait_until

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

FLOW = '''
from prefect import flow

@flow
def tick(word: str = "x") -> None:
    """Ticks."""
'''
HEAD = "name: trial\npull: []\ndeployments:\n"
EVERY = '  - {{name: {name}, entrypoint: "flows/tick.py:tick", work_pool: {{name: horae}}, {more}}}\n'
CRON = 'schedules: [{slug: daily, cron: "0 2 * * *", timezone: Europe/Berlin}]'
LIMIT = "concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}"
INTERVAL = 'schedules: [{{slug: often, interval: {seconds}, anchor_date: "2026-01-01T00:00:00Z"}}]'
VARIED = {
    "daily": f"{CRON}, {LIMIT}, tags: [b, a], description: Said.",
    "plain": "parameters: {word: y}, paused: false, version: '2'",
    "unslugged": 'schedules: [{cron: "0 2 * * *"}, {interval: PT2H}, {rrule: "FREQ=DAILY"}]',
    "strict": "enforce_parameter_schema: true, triggers: [{enabled: true, expect: [x.y]}]",
    "old": 'schedule: {cron: "0 3 * * *"}, concurrency_limit: 2',
    "poolless": "tags: []",
}


@dataclass(frozen=True, kw_only=True)
class Server:
    project: Path
    api: PrefectApi

    async def deploy(self, **deployments: str) -> dict[str, str]:
        """What became of each deployment, by name."""
        listed = "".join(EVERY.format(name=name, more=more) for name, more in deployments.items())
        listed = listed.replace("work_pool: {name: horae}, tags: []", "tags: []")
        (self.project / "prefect.yaml").write_text(HEAD + listed)
        printed = await deploy(self.project, self.project / ".horae", self.api.url, pool="horae")
        return dict(re.findall(r"horae: tick/(\S+) is (.+)", printed))

    async def found(self, name: str) -> dict[str, Any]:
        found = await self.api.deployment_json(f"tick/{name}")
        assert found
        return found

    async def scheduled(self, name: str, within: timedelta = timedelta(minutes=2)) -> list[datetime]:
        id = (await self.found(name))["id"]
        return [fire.at for fire in await self.api.coming_fires(id, clock.now() + within)]

    async def all_fires(self, name: str) -> list[datetime]:
        """Every run that there is of it, begun or not."""
        return [run.expected_start for run in await self.api.flow_runs([(await self.found(name))["id"]])]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    project = tmp_path_factory.mktemp("deploys")
    (project / "flows").mkdir()
    (project / "flows/tick.py").write_text(FLOW)
    (project / "prefect.yaml").write_text(HEAD)
    git(project, "init", "-q")
    git(project, "remote", "add", "origin", "https://git.example/team/jobs.git")
    commit(project)
    state, port = project / ".horae", free_port()
    async with Parts(state) as parts, PrefectApi(f"http://{LOOPBACK}:{port}/api") as api:
        await parts.start(server_part(project, state, port))
        await prepare(api, project, "horae", ours=True)
        yield Server(project=project, api=api)


def git(project: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=project, check=True)


def commit(project: Path) -> None:
    """With a remote, Prefect takes the commit as the version of a deployment that does not give one."""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    git(project, *author, "commit", "-q", "--allow-empty", "-m", "Change jobs")


async def test_what_has_not_changed_is_not_written(server: Server) -> None:
    first = await server.deploy(**VARIED)
    assert {what.split(" (")[0] for what in first.values()} == {"written"}
    assert first.keys() == VARIED.keys()
    before = {name: (await server.found(name))["updated"] for name in VARIED}
    assert await server.deploy(**VARIED) == dict.fromkeys(VARIED, "unchanged")
    assert {name: (await server.found(name))["updated"] for name in VARIED} == before


async def test_what_has_changed_is_written(server: Server) -> None:
    changes = {
        "description": ("Said.", "Said again."),
        "tags": ("[b, a]", "[a]"),
        "concurrency_limit": ("limit: 1", "limit: 3"),
        "schedules": ("0 2 * * *", "0 4 * * *"),
        "schedules ": ("slug: daily", "slug: daily, active: false"),
        "schedules  ": ("Europe/Berlin", "UTC"),
    }
    names = {f"changed{number}": change for number, change in enumerate(changes.values())}
    await server.deploy(same=VARIED["daily"], **dict.fromkeys(names, VARIED["daily"]))
    after = await server.deploy(
        same=VARIED["daily"], **{name: VARIED["daily"].replace(*change) for name, change in names.items()}
    )
    fields = [field.strip() for field in changes]
    assert after == {"same": "unchanged"} | {
        name: f"written ({field})" for name, field in zip(names, fields, strict=True)
    }


async def test_a_new_commit_is_a_new_version(server: Server) -> None:
    deployments = {"committed": "tags: [a]", "versioned": "version: '2'"}
    await server.deploy(**deployments)
    commit(server.project)
    assert await server.deploy(**deployments) == {"committed": "written (version)", "versioned": "unchanged"}
    assert await server.deploy(**deployments) == dict.fromkeys(deployments, "unchanged")


async def test_a_write_shortly_before_a_fire_waits_and_nothing_is_lost_or_doubled(server: Server) -> None:
    """A fire each 15 s, so that there always is one to lose, and one that the write can wait past."""
    often = INTERVAL.format(seconds=15)
    await server.deploy(often=often)
    expected = (await wait_until(lambda: server.scheduled("often"), "its runs", 20))[:4]
    id = (await server.found("often"))["id"]

    async def close() -> bool:
        near = await server.scheduled("often", timedelta(seconds=3))
        return bool(near)

    await wait_until(close, "a fire to be near", 30)
    assert "written (tags)" in (await server.deploy(often=f"{often}, tags: [new]"))["often"]

    async def passed() -> bool:
        return clock.now() > expected[-1]

    await wait_until(passed, "the fires to have come", 90)
    fires = await server.all_fires("often")
    assert [fires.count(at) for at in expected] == [1] * len(expected), (expected, fires)
    assert id == (await server.found("often"))["id"]


async def test_a_lost_fire_is_made_again_once_whoever_comes_first(server: Server) -> None:
    """The write itself at the worst moment, a fire each 5 s: some fires are lost, and Prefect may make them again."""
    often = INTERVAL.format(seconds=5)
    await server.deploy(busy=often)
    await wait_until(lambda: server.scheduled("busy"), "its runs", 20)
    found = await server.found("busy")
    near = await wait_past(server.api, found)
    assert near.fires
    await server.api._call("PATCH", f"/deployments/{found['id']}", {"description": "written"})
    assert await server.api.flow_runs_by_id([fire.run_id for fire in near.fires]) == [], "the write deletes them"
    made = await make_again(server.api, near)
    assert made == [fire.at for fire in near.fires]
    assert await make_again(server.api, near) == made, "asked twice, it orders nothing"
    last = near.fires[-1].at + NEAR

    async def passed() -> bool:
        return clock.now() > last and bool(await server.scheduled("busy"))

    await wait_until(passed, "Prefect's scheduler to have looked twice", 60)
    runs = await server.api.flow_runs([found["id"]], since=near.fires[0].at)
    fires = [run.expected_start for run in runs if run.expected_start <= last]
    assert len(fires) == len(set(fires)), "no fire twice"
    assert {fire.at for fire in near.fires} <= set(fires)
    assert all(run.auto_scheduled for run in runs)
    steps = [later - earlier for earlier, later in zip(sorted(fires), sorted(fires)[1:], strict=False)]
    assert set(steps) == {timedelta(seconds=5)}, "none is missing"


async def test_a_fire_whose_schedule_was_edited_or_paused_is_not_made_again(server: Server) -> None:
    often = INTERVAL.format(seconds=5)
    await server.deploy(edited=often)
    await wait_until(lambda: server.scheduled("edited"), "its runs", 20)
    found = await server.found("edited")
    near = await wait_past(server.api, found)
    await server.deploy(edited=INTERVAL.format(seconds=3600))
    assert await make_again(server.api, near) == []
    await server.deploy(edited=often)
    near = await wait_past(server.api, await server.found("edited"))
    await server.api.pause_deployment(found["id"])
    assert await make_again(server.api, near) == []
    await asyncio.wait_for(server.api.resume_deployment(found["id"]), 10)


async def test_what_is_deployed_and_in_no_file_is_told(server: Server) -> None:
    """A deployment that was removed, a slug that was renamed, and a flow file that nothing deploys."""
    renamed = CRON.replace("slug: daily", "slug: nightly")
    await server.deploy(kept=CRON, removed=CRON)
    await server.deploy(kept=renamed)
    (server.project / "flows/forgotten.py").write_text(FLOW.replace("tick", "forgotten"))
    (server.project / "horae.toml").write_text("")
    settings = Settings(project=server.project, prefect=PrefectSettings(api_url=server.api.url))
    registry = load_registry(settings)
    told = {(one.code, one.job): one for one in leftovers(settings, registry.deployments)}
    assert ("HR518", "tick/removed") in told
    assert "it continues to fire" in told["HR518", "tick/removed"].message
    assert [job for code, job in told if code == "HR519"] == ["tick/kept"]
    assert "the slug 'daily'" in told["HR519", "tick/kept"].message

    command = [sys.executable, "-m", "horae", "--project", str(server.project)]
    env = {**os.environ, "HORAE_PREFECT__API_URL": server.api.url}
    for name in ("jobs", "check"):
        done = await asyncio.to_thread(
            subprocess.run, [*command, name], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        said = done.stdout + done.stderr
        assert {"HR517", "HR518", "HR519"} <= set(re.findall(r"HR\d{3}", said)), said
    env["HORAE_CHECK__IGNORE"] = "HR517:HR518:HR519"
    done = await asyncio.to_thread(
        subprocess.run, [*command, "jobs"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "HR51" not in done.stderr

    # What the remedies say is what helps.
    for arguments in (
        ["deployment", "delete", "tick/removed"],
        [
            "deployment",
            "schedule",
            "delete",
            "tick/kept",
            re.findall(r"tick/kept' (\S+)`", told["HR519", "tick/kept"].remedy)[0],
            "--accept-yes",
        ],
    ):
        env = {**os.environ, **environment(server.project / ".horae", server.api.url)}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    left = {(one.code, one.job) for one in leftovers(settings, registry.deployments)}
    assert not left & {("HR518", "tick/removed"), ("HR519", "tick/kept")}


async def test_only_the_newest_late_fire_is_left_where_the_job_says_so(server: Server) -> None:
    """No worker is there: every fire is late."""
    often = INTERVAL.format(seconds=5)
    await server.deploy(latest=f"{often}, tags: ['horae:latest_only']", every=often)
    registry = load_registry(Settings(project=server.project))

    async def late(name: str) -> list[FlowRun]:
        id = (await server.found(name))["id"]
        return await server.api.flow_runs([id], until=clock.now() - LATE, state_types=["SCHEDULED"])

    async def several() -> bool:
        return len(await late("latest")) >= 3 and len(await late("every")) >= 3

    await wait_until(several, "three late fires of each", 60)
    before = await late("latest")
    await LateFlows(registry, server.api).step()
    left = await late("latest")
    assert len(left) <= 2, "the newest, and one that fell due since"
    assert before[-1].id in {run.id for run in left}
    assert len(await late("every")) >= 3
    given_way = await server.api.flow_run(before[0].id)
    assert given_way
    row = mirrored("ns", registry.get("latest"), given_way)
    assert (row.verdict, row.reason) == (Verdict.MISSED, "superseded")


async def test_prefect_that_does_not_answer_tells_nothing(server: Server) -> None:
    settings = Settings(prefect=PrefectSettings(api_url=f"http://{LOOPBACK}:{free_port()}/api"))
    assert leftovers(settings, {}) == []
