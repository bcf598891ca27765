"""The emulator of Google Cloud Tasks from crates.io; `scripts/servers cloudtasks` builds it. It signs OIDC tokens.

It keeps its queues and tasks in memory: a killed emulator has lost them, which Google's service does not.
"""

import socket
import urllib.request
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.process import BrokerProcess
from tests.requirements import SERVERS

BINARY = SERVERS / "cloudtasks/bin/cloud-tasks-emulator"


class CloudTasksServer:
    """`queues`: full names, such as `projects/p/locations/l/queues/q`, that are there from the start."""

    def __init__(self, folder: Path, *queues: str) -> None:
        self.port, self._queues = free_port(), queues
        self.process = BrokerProcess("cloudtasks", folder)

    @property
    def address(self) -> str:
        """Of gRPC and REST, without TLS."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def issuer(self) -> str:
        """Of its OIDC tokens; its discovery document is below it."""
        return f"http://{self.address}"

    def start(self) -> None:
        own = {"LISTEN_ADDR": self.address, "OIDC_ISSUER": self.issuer, "QUEUES": ",".join(self._queues)}
        self.process.start([str(BINARY)], self._answers, own)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1):
                return True
        except OSError:
            return False

    def forget(self) -> None:
        """Drop all queues and tasks."""
        with urllib.request.urlopen(f"{self.issuer}/emulator:reset", data=b"", timeout=10):
            pass

    def kill(self) -> None:
        self.process.kill()
