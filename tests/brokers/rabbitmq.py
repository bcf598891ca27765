"""A RabbitMQ node of a test's own, from Debian's rabbitmq-server: own node name, own ports, own epmd."""

import socket
import subprocess
import uuid
from pathlib import Path

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.process import BrokerProcess
from tests.waiting import wait_for

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Not the wrapper in sbin: that one changes to the user rabbitmq."""

END_SECONDS = 10


class RabbitServer:
    def __init__(self, folder: Path, *configuration: str) -> None:
        """`configuration`: further lines of rabbitmq.conf."""
        self.port = free_port()
        self._node = f"t{uuid.uuid4().hex[:8]}@localhost"
        self._epmd_port, self._dist_port = free_port(), free_port()
        self.process = BrokerProcess("rabbitmq", folder)
        lines = [f"listeners.tcp.1 = {LOOPBACK}:{self.port}", f"distribution.listener.interface = {LOOPBACK}"]
        (folder / "rabbitmq.conf").write_text("\n".join([*lines, *configuration, ""]))
        (folder / "enabled_plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{LOOPBACK}:{self.port}/"

    @property
    def environment(self) -> dict[str, str]:
        """What rabbitmqctl needs too."""
        folder = self.process.folder
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": self._node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }

    def start(self) -> None:
        self.process.start([str(SERVER)], self._answers, self.environment)

    def _answers(self) -> bool:
        """A broker that is ready answers a protocol header with Connection.Start, a method frame."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                return connection.recv(1) == b"\x01"
        except OSError:
            return False

    def control(self, *arguments: str) -> str:
        """The output of `rabbitmqctl`, which works on this node."""
        ctl = SERVER.with_name("rabbitmqctl")
        shown = subprocess.run(
            [ctl, *arguments], env={"PATH": "/usr/bin:/bin", **self.environment}, capture_output=True, text=True
        )
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    def kill(self) -> None:
        self.process.kill()

    def end(self) -> None:
        """Kill it, and the epmd that it started and that outlives it."""
        self.kill()
        # It refuses while it still knows the node, which has just been killed.
        wait_for(self._epmd_gone, "the epmd of a killed node to end", END_SECONDS)

    def _epmd_gone(self) -> bool:
        """Ask it to end, and return whether there is none any more."""
        asked = ["epmd", "-port", str(self._epmd_port), "-kill"]
        return "Cannot connect" in subprocess.run(asked, capture_output=True, text=True).stderr
