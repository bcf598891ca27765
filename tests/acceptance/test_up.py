"""`horae up` as a user has it: everything starts, every part comes back when killed, nothing is left behind."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from horae.local import endpoints
from tests.shipped import ship
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
PORTS = ("STORE__PORT", "PREFECT__PORT", "WORKER__HEALTH_PORT", "SIDECAR__HEALTH_PORT")
SLOW = '''
import time
from datetime import timedelta
from horae import job

@job(traits={"infrastructure"}, time_limit=timedelta(minutes=2), idempotent=True)
def slow(*, seconds: float = 4.0) -> None:
    """Take a while."""
    time.sleep(seconds)
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project like this one, a git repository of its own."""
    project = ship(tmp_path / "checkout", "flows", "infra", "internal", "horae.toml", "prefect.yaml")
    (project / "infra" / "slow.py").write_text(SLOW)
    (project / ".gitignore").write_text(".horae/\n__pycache__/\n")
    for command in ("init -q", "add .", "-c user.name=t -c user.email=t@example.org commit -qm start"):
        subprocess.run(["git", *command.split()], cwd=project, check=True)
    return project


def environment() -> dict[str, str]:
    return os.environ | {f"HORAE_{port}": "0" for port in PORTS}


def horae(project: Path, *arguments: str, timeout: float = 150) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "horae", "--project", str(project), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def of_state(project: Path) -> dict[int, str]:
    """The processes that belong to this project's state, with their commands. Valkey overwrites its environment, and is
    known by its folder."""
    state, found = str(project / ".horae"), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = state.encode() in (process / "environ").read_bytes()
            if ours or str((process / "cwd").readlink()).startswith(state):
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return {pid: command for pid, command in found.items() if command}


def nothing_is_left(project: Path) -> None:
    assert of_state(project) == {}
    assert not (project / ".horae" / "up.lock").exists()
    assert not (project / ".horae" / "run" / "endpoints.json").exists()


@pytest.mark.timeout(180)
def test_once_runs_a_job_of_each_tier_on_real_input(checkout: Path) -> None:
    (checkout / "infra" / "broken.py").write_text("import no_such_module_anywhere\n")
    done = horae(checkout, "up", "--once", "--json")
    assert done.returncode == 0, done.stderr
    assert "HR701 infra/broken.py:1: its import failed" in done.stderr, "told, and in nobody's way"
    runs = {run["job"]: run for run in json.loads(done.stdout)}
    assert {name: run["verdict"] for name, run in runs.items()} == dict.fromkeys(
        ("code-sweep/code-sweep", "database-backup", "health-check"), "ran"
    )
    assert {run["tier"] for run in runs.values()} == {"prefect", "oneiric", "apscheduler"}
    report = json.loads((checkout / ".horae/reports/code-sweep/latest.json").read_text())
    assert "checkout" in json.dumps(report)
    [backup] = (checkout / ".horae/backups").glob("*.sqlite3.gz")
    restored = checkout / "restored.db"
    restored.write_bytes(gzip.decompress(backup.read_bytes()))
    with sqlite3.connect(restored) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM flow").fetchone() == (
            len(list((checkout / "flows").glob("*.py"))) - 1,
        )
    database.close()
    nothing_is_left(checkout)


class Up:
    """A `horae up` that goes on."""

    def __init__(self, project: Path) -> None:
        self.project, self.said = project, project / "up.log"
        with self.said.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "horae", "--project", str(project), "up"],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_to_say("code-sweep ran", 120)

    def wait_to_say(self, text: str, seconds: float = 60) -> None:
        wait_for(lambda: text in self.said.read_text(), f"`{text}` to be said", seconds)

    def json(self, *arguments: str) -> Any:
        done = horae(self.project, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def verdict(self, run_id: str) -> dict[str, Any] | None:
        found = [one for one in self.json("fires") if one["run_id"] == run_id]
        return found[0] if found and found[0]["verdict"] else None


@pytest.fixture
def up(checkout: Path) -> Iterator[Up]:
    started = Up(checkout)
    yield started
    if started.process.poll() is None:
        started.process.send_signal(signal.SIGINT)
        started.process.wait(timeout=20)


PARTS = {
    "queue-worker": " worker ",
    "sidecar": " sidecar ",
    "valkey": "valkey-server ",
    "prefect-server": "prefect server start",
}
"""What the command of each has and no other's."""


def kill_part(project: Path, name: str, by: signal.Signals = signal.SIGKILL) -> None:
    """The process that `horae up` started; what is to stop it stops those that it consists of."""
    found = [
        pid
        for pid, command in of_state(project).items()
        if PARTS[name] in f"{command} " and "prefect worker" not in command
    ]
    [leader] = [pid for pid in found if os.getpgid(pid) == pid]
    for pid in [leader] if by is signal.SIGKILL else found:
        os.kill(pid, by)


@pytest.mark.timeout(240)
def test_every_part_comes_back_when_it_is_killed(up: Up) -> None:
    project = up.project
    slow = up.json("enqueue", "slow")["run_id"]
    wait_for(lambda: "running" in [one["state"] for one in up.json("fires")], "the slow run to begin", 20)
    for name in PARTS:
        kill_part(project, name)
        up.wait_to_say(f"{name} died: it was ended by SIGKILL")
        wait_for(lambda name=name: up.said.read_text().count(f"{name} ready") == 2, f"{name} to be back", 60)  # type: ignore[misc]
    ended = wait_for(lambda: up.verdict(slow), "the slow run's verdict", 40)
    assert ended
    assert (ended["verdict"], ended["attempts"]) == ("ran", 2)
    assert horae(project, "run", "code-sweep").returncode == 0
    second = horae(project, "up")
    assert second.returncode != 0
    assert str(up.process.pid) in second.stderr
    known = endpoints.read(project / ".horae")
    assert known
    assert known.store_url
    long = up.json("enqueue", "slow", "--context", "seconds=90")["run_id"]
    wait_for(
        lambda: (long, "running") in [(one["run_id"], one["state"]) for one in up.json("fires")], "the long run", 20
    )
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=10) == 0
    assert "queue-worker stopped" in up.said.read_text()
    assert "did not stop in time" not in up.said.read_text(), "a long run is handed back"
    nothing_is_left(project)


@pytest.mark.timeout(300)
def test_a_part_that_hangs_is_started_again_and_one_that_hangs_at_the_end_delays_nothing(up: Up) -> None:
    project = up.project
    for name in PARTS:
        kill_part(project, name, signal.SIGSTOP)
    for name in PARTS:
        up.wait_to_say(f"{name} died: it has not answered for 60 s", 100)
        wait_for(lambda name=name: up.said.read_text().count(f"{name} ready") == 2, f"{name} to be back", 60)  # type: ignore[misc]
    run = up.json("enqueue", "slow", "--context", "seconds=0.1")["run_id"]
    ended = wait_for(lambda: up.verdict(run), "the verdict of a run that came afterwards", 40)
    assert ended
    assert ended["verdict"] == "ran"
    for name in PARTS:
        kill_part(project, name, signal.SIGSTOP)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=10) == 0
    nothing_is_left(project)
