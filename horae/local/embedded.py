"""The embedded Valkey of a program without a configured store: started when needed, shared, its data kept.

Its data is where `horae up` keeps its own, so each takes up what the other left open; only one server runs on it.
"""

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import sleep

from horae.clock import monotonic
from horae.errors import StartError
from horae.local import keeper
from horae.local.ports import LOOPBACK, free_port
from horae.local.valkey import answers, command, running

FOLDER = "valkey"
"""Below the state folder: the data of the embedded Valkey, whoever starts it."""
LOG = "valkey.log"
START_SECONDS = 15.0
POLL_SECONDS = 0.01


@asynccontextmanager
async def embedded_store(state: Path) -> AsyncIterator[str]:
    """The URL of the embedded Valkey. It runs until the last process that uses it leaves or dies.

    Raises StartError with what is in the way.
    """
    use = Use(state)
    try:
        port = await asyncio.to_thread(use.begin)
        yield f"redis://{LOOPBACK}:{port}/0"
    finally:
        use.end()


class Use:
    """That this process uses the server: a shared lock, which the kernel takes away with the process."""

    def __init__(self, state: Path) -> None:
        self._data, self._log = state / FOLDER, state / "logs" / LOG
        self._users, self._starting = state / "run" / "valkey.users", state / "run" / "valkey.start"
        self._descriptor: int | None = None

    def begin(self) -> int:
        """The port of the server, which is started if there is none. Blocks; raises StartError."""
        try:
            for folder in (self._data, self._log.parent, self._users.parent):
                folder.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._users, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            with _alone(self._starting):
                return self._port()
        except OSError as error:
            raise StartError(
                f"the embedded store cannot be kept in {self._data}: {error.strerror}. Make it writable for this user, "
                "put it elsewhere with HORAE_STATE_DIR, or name a server: HORAE_STORE__URL=redis://HOST:6379"
            ) from error

    def end(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _port(self) -> int:
        if running(self._data) is None:
            self._start()
        deadline = monotonic() + START_SECONDS
        while monotonic() < deadline:
            found = running(self._data)
            if found and answers(found.port):
                return found.port
            sleep(POLL_SECONDS)
        raise StartError(f"the embedded store in {self._data} does not answer; {self._log} says why")

    def _start(self) -> None:
        server = command(self._data, free_port())
        with self._log.open("ab") as log:
            subprocess.run(
                [sys.executable, "-I", "-S", keeper.__file__, str(self._users), *server],
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                check=True,
            )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
