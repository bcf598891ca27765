"""`horae up` with a NATS server that the settings ask for: it carries the messages, is private, and comes back."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from horae.local.ports import LOOPBACK, free_port
from tests.waiting import wait_for

JOB = '''
from horae import job


@job(traits={"infrastructure"}, idempotent=True)
def greet() -> str:
    """Greet."""
    return "hello"
'''


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.said = folder, free_port(), folder / "up.log"
        (folder / "infra").mkdir(parents=True)
        (folder / "infra/greet.py").write_text(JOB)
        (folder / "horae.toml").write_text(
            f'[queue]\nprovider = "nats"\n\n[queue.nats]\nembedded = true\nembedded_port = {self.port}\n'
        )
        taken = ("HORAE_", "PREFECT_")
        self.environment = {name: text for name, text in os.environ.items() if not name.startswith(taken)} | {
            "HORAE_STORE__PORT": "0",
            "HORAE_WORKER__HEALTH_PORT": "0",
            "HORAE_SIDECAR__HEALTH_PORT": "0",
        }

    def up(self) -> "subprocess.Popen[bytes]":
        with self.said.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "horae", "up"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def json(self, *arguments: str) -> Any:
        command = [sys.executable, "-m", "horae", *arguments, "--json"]
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def wait_to_say(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.said.read_text().count(text) >= times, f"`{text}` to be said", 60)

    def run_one(self) -> dict[str, Any]:
        run = self.json("enqueue", "greet")["run_id"]
        wait_for(lambda: self.json("show", run)["verdict"], "the verdict", 60)
        found: dict[str, Any] = self.json("show", run)
        return found


def pid_of(argument: Path) -> int:
    """The process that has this argument."""
    [found] = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(argument).encode() in path.read_bytes().split(b"\0")
    ]
    return int(found)


def answer_without_token(port: int) -> bytes:
    with socket.create_connection((LOOPBACK, port), timeout=5) as client, client.makefile("rb") as said:
        assert said.readline().startswith(b"INFO ")
        client.sendall(b'CONNECT {"verbose": true}\r\n')
        return said.readline()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "project")
    process = made.up()
    try:
        made.wait_to_say("queue-worker ready")
        yield made
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0, made.said.read_text()


@pytest.mark.requires("valkey")
@pytest.mark.requires("nats")
@pytest.mark.timeout(180)
def test_it_carries_the_runs_wants_its_token_and_comes_back(project: Project) -> None:
    ended = project.run_one()
    assert (ended["verdict"], ended["provider"]) == ("ran", "nats")

    kept = project.folder / ".horae/nats"
    assert {stat.S_IMODE((kept / name).stat().st_mode) for name in ("token", "nats-server.conf")} == {0o600}
    assert b"Authorization Violation" in answer_without_token(project.port)

    os.kill(pid_of(kept / "nats-server.conf"), signal.SIGKILL)
    project.wait_to_say("nats ready", 2)
    assert project.run_one()["verdict"] == "ran"
