"""Sidecar and queue worker as processes: health, metrics, readiness that tells the truth, and a clean end."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from horae.local.ports import free_port
from tests.processes import Services, services
from tests.servers import OwnValkey
from tests.waiting import wait_for

KINDS = {"sidecar": "HORAE_SIDECAR__HEALTH_PORT", "queue_worker": "HORAE_WORKER__HEALTH_PORT"}


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    folder = tmp_path / "valkey"
    folder.mkdir()
    server = OwnValkey(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def running(project: Path, valkey: OwnValkey, namespace: str) -> Iterator[Services]:
    with services(project, valkey.url, namespace) as found:
        yield found


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_service_says_how_it_is_and_ends_cleanly(running: Services, kind: str) -> None:
    port = free_port()
    service = running.start(kind, **{KINDS[kind]: str(port)})
    wait_for(lambda: get(port, "/health/ready")[0] == 200, "it to be ready")
    assert get(port, "/health/live")[0] == 200
    assert json.loads(get(port, "/health")[1])["ready"] is True
    assert "horae_tick_seconds" in get(port, "/metrics")[1]
    assert get(port, "/nothing")[0] == 404
    assert service.terminate() == 0
    events: list[dict[str, Any]] = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [event["action"] for event in events][-2:] == ["process_drains", "process_down"]


@pytest.mark.parametrize("kind", list(KINDS))
def test_readiness_follows_the_store_and_liveness_does_not(running: Services, valkey: OwnValkey, kind: str) -> None:
    port = free_port()
    running.start(kind, **{KINDS[kind]: str(port)})
    wait_for(lambda: get(port, "/health/ready")[0] == 200, "it to be ready")
    valkey.kill()
    wait_for(lambda: get(port, "/health/ready")[0] == 503, "it to notice")
    said = json.loads(get(port, "/health/ready")[1])
    assert any("does not answer" in why for why in said["waits_for"].values())
    assert get(port, "/health/live")[0] == 200
    valkey.start()
    wait_for(lambda: get(port, "/health/ready")[0] == 200, "it to recover", 20)


def test_a_taken_health_port_is_named_with_the_setting(running: Services) -> None:
    port = free_port()
    running.start("sidecar", HORAE_SIDECAR__HEALTH_PORT=str(port))
    with pytest.raises(AssertionError, match="HORAE_SIDECAR__HEALTH_PORT") as raised:
        running.start("sidecar", HORAE_SIDECAR__HEALTH_PORT=str(port))
    assert "Traceback" not in str(raised.value)


def health(project: Path, *arguments: str, **ports: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PREFECT_WORKER_WEBSERVER_PORT": str(free_port()), **ports}
    command = [sys.executable, "-m", "horae", "health", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_health_command_follows_the_process(running: Services, valkey: OwnValkey, project: Path, kind: str) -> None:
    ports = {name: str(free_port()) for name in KINDS.values()}
    part = kind.removeprefix("queue_")
    gone = health(project, part, **ports)
    assert (gone.returncode, gone.stderr) == (1, "")
    assert gone.stdout == f"{part}: no answer on 127.0.0.1:{ports[KINDS[kind]]}\n"
    nobody = health(project, **ports)
    assert nobody.returncode == 1
    assert nobody.stdout.startswith("no process listens: ")
    running.start(kind, **ports)
    wait_for(lambda: get(int(ports[KINDS[kind]]), "/health/ready")[0] == 200, "it to be ready")
    assert health(project, **ports).returncode == health(project, part, "--ready", **ports).returncode == 0
    valkey.kill()
    wait_for(lambda: get(int(ports[KINDS[kind]]), "/health/ready")[0] == 503, "it to notice")
    assert health(project, part, **ports).returncode == 0
    waiting = health(project, part, "--ready", **ports)
    assert waiting.returncode == 1
    assert "does not answer" in waiting.stdout


def test_the_health_command_refuses_a_port_that_it_cannot_know(project: Path) -> None:
    refused = health(project, "sidecar", HORAE_SIDECAR__HEALTH_PORT="0")
    assert refused.returncode == 2
    assert "HORAE_SIDECAR__HEALTH_PORT is 0" in refused.stderr
