"""A single Kafka broker in KRaft mode; `scripts/servers kafka` fetches its jars."""

import base64
import subprocess
import uuid
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.process import BrokerProcess
from tests.requirements import SERVERS

JARS = SERVERS / "kafka"
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers={host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{advertised},CONTROLLER://{host}:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={folder}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
"""


class KafkaServer:
    """`advertised`: the port that clients are sent to, such as that of a proxy before it."""

    def __init__(self, folder: Path, advertised: int | None = None, *, properties: str = "") -> None:
        self.port, controller = free_port(), free_port()
        self.process = BrokerProcess("kafka", folder)
        self._file = folder / "server.properties"
        self._text = PROPERTIES.format(
            host=LOOPBACK, port=self.port, controller=controller, advertised=advertised or self.port, folder=folder
        )
        self.set(properties)
        self._formatted = False

    def set(self, properties: str) -> None:
        """Further properties, from the next start on."""
        self._file.write_text(self._text + properties)

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    def start(self) -> None:
        if not self._formatted:
            cluster = (
                base64.urlsafe_b64encode(b"h" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
            )  # never begins with a dash
            tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(self._file)]
            subprocess.run([*self._java(), *tool], check=True, capture_output=True)
            self._formatted = True
        before = self._starts()
        command = [*self._java(), "kafka.Kafka", str(self._file)]
        self.process.start(command, lambda: self._starts() > before)

    def _java(self) -> list[str]:
        return ["java", "-Xmx384m", "-XX:+UseSerialGC", "-cp", f"{JARS}/*:{Path(__file__).parent}"]

    def _starts(self) -> int:
        """How often it has said that it is up."""
        log = self.process.log
        return log.read_text(errors="replace").count("Kafka Server started") if log.exists() else 0

    def kill(self) -> None:
        self.process.kill()
