"""Real sidecars and queue workers as processes of a test, to be killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from horae.runners.ports import free_port
from horae.runners.valkey import answers, command
from tests.chaos.journal import PROCESS
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
WORKERS = ROOT / "workers"


@dataclass(kw_only=True)
class Service:
    """A `workers/*.py` main, in a project."""

    name: str
    """Of this process and no later one: what the journal calls its worker."""
    kind: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


class Services:
    """Processes of one project on one store."""

    def __init__(self, project: Path, store_url: str, namespace: str, **settings: str) -> None:
        self._project = project
        self.environment = {
            **os.environ,
            "HORAE_STORE__URL": store_url,
            "HORAE_NAMESPACE": namespace,
            "HORAE_WORKER__HEALTH_PORT": "0",
            "HORAE_SIDECAR__HEALTH_PORT": "0",
            "HORAE_REVISION": "1",
            "PYTHONPATH": str(ROOT),  # generated jobs import the journal
            **settings,
        }
        self.all: list[Service] = []
        self._numbers = count()

    def start(self, kind: str, **settings: str) -> Service:
        """`kind`: sidecar or queue_worker."""
        name = f"{kind}-{next(self._numbers)}"
        log = self._project / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, str(WORKERS / f"{kind}.py")],
                cwd=self._project,
                env=self.environment | {PROCESS: name} | settings,
                stdout=file,
                stderr=file,
            )
        service = Service(name=name, kind=kind, process=process, log=log)
        self.all.append(service)
        wait_for(lambda: "process_up" in log.read_text() or process.poll() is not None, f"{kind} to be up", 30)
        assert process.poll() is None, log.read_text()
        return service

    def end(self) -> None:
        for service in self.all:
            if service.process.poll() is None:
                service.process.send_signal(signal.SIGCONT)
                service.kill()


@contextmanager
def services(project: Path, store_url: str, namespace: str, **settings: str) -> Iterator[Services]:
    """`settings`: variables of every process."""
    found = Services(project, store_url, namespace, **settings)
    try:
        yield found
    finally:
        found.end()


class OwnValkey:
    """A Valkey that a test may kill and start again, on the same port and files.

    `fsync="always"`: what it has answered is in its file, so that a kill loses nothing; with `everysec`, as `horae up`
    starts it, a write may wait behind a flush of the disk and be lost with the process.
    """

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        self._folder, self._fsync, self.port = folder, fsync, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        order = [*command(self._folder, self.port), "--appendfsync", self._fsync]
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(order, stdout=log, stderr=log)
        wait_for(lambda: answers(self.port), "Valkey", 30)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
