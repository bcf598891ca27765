"""The embedded Valkey of a program without a configured store. It starts when needed, is shared, and keeps its data.

It uses the same data folder as `horae up`, so each continues the open runs of the other. Only one server runs on the
folder at a time.
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
from horae.files import private_folder
from horae.local import keeper
from horae.local.ports import free_port
from horae.local.state_folder import state_folder
from horae.local.valkey import answers, command, running, secret_of, url_of, what_to_do

FOLDER = "valkey"
"""The data folder of the embedded Valkey, inside the state folder."""
LOG = "valkey.log"
START_SECONDS = 15.0
POLL_SECONDS = 0.01
LOG_END_BYTES = 16_384


@asynccontextmanager
async def embedded_store(state: Path) -> AsyncIterator[str]:
    """The URL of the embedded Valkey, with its password. It runs until the last process that uses it leaves or dies.

    Raises StartError, which names the cause.
    """
    use = Use(state)
    try:
        yield await asyncio.to_thread(use.begin)
    finally:
        use.end()


class Use:
    """The use of the server by this process: a shared file lock, which the kernel releases when the process ends."""

    def __init__(self, state: Path) -> None:
        self._data, self._log = state / FOLDER, state / "logs" / LOG
        self._users, self._starting = state / "run" / "valkey.users", state / "run" / "valkey.start"
        self._descriptor: int | None = None

    def begin(self) -> str:
        """Start the server if it does not run, and return its URL. Blocks. Raises StartError."""
        try:
            state_folder(self._data.parent)
            for folder in (self._data, self._log.parent, self._users.parent):
                private_folder(folder)
            self._descriptor = os.open(self._users, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            with _alone(self._starting):
                return url_of(self._data, self._port())
        except OSError as error:
            raise StartError(
                f"cannot store the data of the embedded store in {self._data}: {error.strerror}. Make the folder "
                "writable for this user, choose another folder with HORAE_STATE_DIR, or name a server: "
                "HORAE_STORE__URL=redis://HOST:6379"
            ) from error

    def end(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _port(self) -> int:
        password = secret_of(self._data).password
        if running(self._data) is None:
            self._start()
        deadline = monotonic() + START_SECONDS
        while monotonic() < deadline:
            found = running(self._data)
            if found and answers(found.port, password):
                return found.port
            sleep(POLL_SECONDS)
        hint = what_to_do(self._log.read_bytes()[-LOG_END_BYTES:].decode(errors="replace"))
        said = f"the embedded store in {self._data} does not answer; {self._log} shows why"
        raise StartError(". ".join([said, hint]) if hint else said)

    def _start(self) -> None:
        server = command(self._data, free_port(), secret_of(self._data))
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
    """Only one process at a time is inside the block."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
