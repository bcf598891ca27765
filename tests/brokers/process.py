"""One server process of a test's own: its folder, its log, how it dies."""

import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.waiting import wait_for

START_SECONDS = 60
"""On a busy machine RabbitMQ and Kafka take a while."""


class BrokerProcess:
    """A server as a process group, so that `kill` takes what it started too."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder, self.log = name, folder, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def start(
        self, command: Sequence[str], ready: Callable[[], bool], environment: Mapping[str, str] | None = None
    ) -> None:
        """Return once `ready` answers true; fail with the end of the log if the server exits before."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command],
                cwd=self.folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process = self._process
        wait_for(lambda: process.poll() is not None or ready(), f"{self.name}, see {self.log}", START_SECONDS)
        assert process.poll() is None, self.log.read_text(errors="replace")[-2000:]

    @property
    def pid(self) -> int:
        """Of the server that `start` started last."""
        assert self._process, f"{self.name} is not started"
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """To the whole group."""
        if self._process and self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """As `kill -9` does."""
        self.signal(signal.SIGKILL)
        if self._process:
            self._process.wait()

    def stop(self) -> None:
        """As an orderly shutdown does."""
        self.signal(signal.SIGTERM)
        if self._process:
            self._process.wait(timeout=START_SECONDS)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
