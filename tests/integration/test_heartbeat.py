"""The heartbeat on real processes and a real ping server: silence, return, and a switch that is not pinged in vain."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from horae import RunContext
from horae.jobs.context import running
from horae.local.ports import free_port
from internal._heartbeat.settings import HeartbeatSettings
from internal.heartbeat import heartbeat
from tests.ping_server import PingServer, ping_server
from tests.processes import ROOT, Services, services
from tests.waiting import wait_for, wait_until

SECRET = "0b1c-secret-check"


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # By the function: a test that loads another project gives the package `internal` another meaning.
    monkeypatch.setitem(heartbeat.__globals__, "LEAST_SECONDS", 0)


@pytest.fixture
def running_services(project: Path, valkey_url: str, namespace: str) -> Iterator[Services]:
    with services(project, valkey_url, namespace) as found:
        yield found


@pytest.fixture
def switch() -> Iterator[PingServer]:
    with ping_server() as found:
        yield found


class Watch:
    """Beats of one sidecar in a project. `told` has what each beat reported."""

    def __init__(self, project: Path, **settings: Any) -> None:
        self.project, self.settings = project, HeartbeatSettings(silent_after_seconds=0.2, **settings)
        self.told: list[str] = []

    async def beat(self, *, dry_run: bool = False) -> dict[str, Any]:
        context = RunContext(
            job="heartbeat", run_id="r", project=self.project, settings=self.settings, report=self.told.append
        )
        with running(context):
            result = await heartbeat(dry_run=dry_run)
        assert SECRET not in json.dumps(result) + self.told[-1]  # the URL is a secret
        return result

    @property
    def state(self) -> Path:
        return self.project / ".horae" / "heartbeat.json"


async def test_a_stopped_worker_is_told_once_and_clears(
    project: Path, running_services: Services, switch: PingServer, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    worker = running_services.start("queue_worker", HORAE_WORKER__HEALTH_PORT=str(port))
    watch = Watch(project, processes={"worker": f"http://127.0.0.1:{port}"}, ping_url=SecretStr(switch.url))

    def noted(action: str) -> int:
        return sum(getattr(record, "action", "") == action for record in caplog.records)

    assert (await watch.beat())["ok"] is True
    assert watch.told == ["1 of 1 processes are alive"]
    worker.hold()

    async def silent() -> bool:
        return (await watch.beat())["ok"] is False

    await wait_until(silent, "the stopped worker to be silent")
    assert watch.told[-1].startswith("worker is silent: does not answer")
    await watch.beat()
    assert noted("process_silent") == 1
    worker.let_go()

    async def alive() -> bool:
        return (await watch.beat())["ok"] is True

    await wait_until(alive, "the worker to answer again")
    assert (noted("process_silent"), noted("process_alive")) == (1, 1)
    kinds = [path.removeprefix("/" + SECRET) for path in dict.fromkeys(switch.paths)]
    assert kinds == ["/start", "", "/log", "/fail"] or kinds == ["/start", "", "/fail"]
    assert switch.paths[-1] == f"/{SECRET}", "the last ping is a success again"
    assert "rid=" in switch.pings[0][0]
    assert switch.pings[0][0].partition("?")[2] == switch.pings[1][0].partition("?")[2], "one rid ties start and end"


async def test_the_switch_is_not_told_that_all_is_well_by_a_watch_that_saw_nothing(
    project: Path, switch: PingServer
) -> None:
    watch = Watch(project, ping_url=SecretStr(switch.url))
    result = await watch.beat()
    assert result["ok"] is None
    assert watch.told[-1].startswith("no process was checked")
    assert switch.paths == [f"/{SECRET}/start", f"/{SECRET}/log"]
    assert "no process was checked" in switch.pings[-1][1]


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, "OK (not found)", "did not accept a ping: not found"),  # the trap: a wrong UUID is answered with 200
        (200, "OK (rate limited)", "did not accept a ping: rate limited"),
        (404, "not found", "refused a ping with status 404"),
        (302, "", "refused a ping with status 302"),
        (500, "", "refused a ping with status 500"),
    ],
)
async def test_a_ping_that_was_not_taken_comes_first_and_is_sent_again(
    project: Path, switch: PingServer, status: int, answer: str, said: str
) -> None:
    watch = Watch(project, ping_url=SecretStr(switch.url))
    switch.status, switch.answer = status, answer
    result = await watch.beat()
    assert said in result["unseen"][0]
    assert said in watch.told[-1].partition(";")[0]
    switch.status, switch.answer = 200, "OK"
    assert said not in str(await watch.beat())
    assert switch.paths == [f"/{SECRET}/start", f"/{SECRET}/log"], "a start that was not taken ends the ping"


async def test_a_switch_that_hangs_or_is_away_does_not_hold_up_the_watch(project: Path, switch: PingServer) -> None:
    watch = Watch(project, ping_url=SecretStr(switch.url), timeout_seconds=0.3)
    switch.hang = True
    assert "did not answer a ping within 0.3 s" in (await watch.beat())["unseen"][0]
    gone = Watch(project, ping_url=SecretStr(f"http://127.0.0.1:{free_port()}/{SECRET}"))
    assert "does not answer a ping: ConnectError" in (await gone.beat())["unseen"][0]


async def test_a_dry_run_pings_and_writes_nothing(project: Path, switch: PingServer) -> None:
    watch = Watch(project, ping_url=SecretStr(switch.url))
    await watch.beat(dry_run=True)
    assert watch.told[-1].endswith("; dry run, would ping log")
    assert (switch.pings, watch.state.exists()) == ([], False)


async def test_what_is_no_horae_process_gives_no_proof_of_life(project: Path, switch: PingServer) -> None:
    watch = Watch(project, processes={"web": switch.url.rpartition("/")[0]})
    await watch.beat()
    assert "uncertain: web answers 501, which is not the answer of a Horae process" in watch.told[-1]


async def test_a_state_that_cannot_be_written_or_read_is_named(project: Path) -> None:
    watch = Watch(project, processes={"gone": f"http://127.0.0.1:{free_port()}"})
    watch.state.mkdir(parents=True)
    result = await watch.beat()
    assert any("cannot read" in line for line in result["unseen"])
    assert any("may report the same change again" in line for line in result["unseen"])


def test_killed_in_the_middle_of_a_ping_it_goes_on_at_the_next_beat(project: Path, switch: PingServer) -> None:
    for name in ("heartbeat.py", "_heartbeat"):
        (project / "internal" / name).symlink_to(ROOT / "internal" / name)
    environment = {**os.environ, "HORAE_JOBS__HEARTBEAT__PING_URL": switch.url}
    command = [sys.executable, "-m", "horae", "--project", str(project), "run", "heartbeat", "--json"]
    switch.hang = True
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_for(lambda: switch.pings, "the first ping")
        process.kill()
    switch.hang = False
    switch.release.set()
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)["verdict"] == "ran"
    assert switch.paths[1:] == [f"/{SECRET}/start", f"/{SECRET}/log"]
    assert SECRET not in again.stdout + again.stderr


async def test_a_sidecar_beats_watches_itself_and_pings(
    project: Path, running_services: Services, switch: PingServer
) -> None:
    for name in ("heartbeat.py", "_heartbeat"):
        (project / "internal" / name).symlink_to(ROOT / "internal" / name)
    port = str(free_port())
    sidecar = running_services.start(
        "sidecar", HORAE_SIDECAR__HEALTH_PORT=port, HORAE_JOBS__HEARTBEAT__PING_URL=switch.url
    )
    await wait_until(lambda: len(switch.pings) > 1, "the sidecar's pings", 30)
    assert switch.paths[:2] == [f"/{SECRET}/start", f"/{SECRET}"]
    assert switch.pings[1][1] == "1 of 1 processes are alive"
    assert SECRET not in sidecar.log.read_text()
