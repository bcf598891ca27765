"""Real servers of a test's own, to be killed and started again."""

import signal
import subprocess
from pathlib import Path

from horae.local.ports import free_port
from horae.local.valkey import answers, command
from tests.waiting import wait_for


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

    def signal(self, number: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
