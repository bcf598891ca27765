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
from typing import Any, Protocol

from chaos.journal import PROCESS
from horae.execution.tree import children_of
from tests.waiting import wait_for

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """Where the processes of one revision are started from."""

    root: Path
    python: Path
    path: Path
    """On their PYTHONPATH, since generated jobs import the journal from `chaos`."""
    mark: str = ""
    """Ends the names of its processes."""

    @property
    def guards(self) -> bool:
        """Whether its processes split into front, guardian and worker. Old releases run jobs in the started process."""
        return (self.root / "horae/execution/guardian.py").exists()

    def start(self, kind: str, name: str, project: Path, environment: dict[str, str]) -> "Service":
        process, log = started(
            [str(self.python), str(self.root / "workers" / f"{kind}.py")],
            project / f"{name}.log",
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(self.path)} | environment,
        )
        return Service(name=name, kind=kind, process=process, log=log, guarded=self.guards)


HERE = Checkout(root=ROOT, python=Path(sys.executable), path=ROOT)


def started(command: list[str], log: Path, **options: Any) -> "tuple[subprocess.Popen[bytes], Path]":
    """A process that writes to a new log. `options` are those of Popen."""
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, **options), log


class Source(Protocol):
    """What the processes of one revision are started from: a checkout, or an image."""

    @property
    def mark(self) -> str: ...

    def start(self, kind: str, name: str, project: Path, environment: dict[str, str]) -> "Service":
        """`kind`: sidecar, queue_worker or receiver. Does not wait until it is up."""


@dataclass(kw_only=True)
class Service:
    """A `workers/*.py` main, in a project."""

    name: str
    """Of this process and no later one: what the journal calls its worker."""
    kind: str
    process: subprocess.Popen[bytes]
    log: Path
    guarded: bool = True
    """False if this is a process of an old release, which has no guardian."""

    @property
    def pid(self) -> int:
        """Of the front, by which others know it; killing it ends all three."""
        return self.process.pid

    @property
    def guardian(self) -> int:
        [guardian] = children_of(self.pid)
        return guardian

    @property
    def worker(self) -> int:
        """The process that runs the jobs."""
        return children_of(self.guardian)[0] if self.guarded else self.pid

    def hold(self) -> None:
        """SIGSTOP to the worker; `let_go` ends it."""
        os.kill(self.worker, signal.SIGSTOP)

    def let_go(self) -> None:
        os.kill(self.worker, signal.SIGCONT)

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
        self._environment = {
            "HORAE_STORE__URL": store_url,
            "HORAE_NAMESPACE": namespace,
            "HORAE_WORKER__HEALTH_PORT": "0",
            "HORAE_SIDECAR__HEALTH_PORT": "0",
            "HORAE_REVISION": "1",
            **settings,
        }
        self.all: list[Service] = []
        self._numbers = count()

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that a test starts by itself."""
        return os.environ | self._environment

    def start(self, kind: str, source: Source = HERE, /, **settings: str) -> Service:
        """`kind`: sidecar, queue_worker or receiver."""
        name = f"{kind}-{next(self._numbers)}{source.mark}"
        service = source.start(kind, name, self._project, self._environment | {PROCESS: name} | settings)
        log, process = service.log, service.process
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
