"""Keeps a server running while any process uses it. It runs as a program, by its path, and imports nothing of Horae.

keeper.py USERS COMMAND...: each process that uses the server holds a shared lock on the file USERS. When no process
holds the lock, for example because all were killed, the keeper stops the server and exits. If the server dies earlier,
the keeper starts it again.
"""

import fcntl
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

RESTART_SECONDS = 0.2
STOP_SECONDS = 10
CHILD = "--child"


class Keeper:
    def __init__(self, users: str, command: list[str]) -> None:
        self._users, self._command = users, command
        self._starting = threading.Lock()
        self._unused = threading.Event()
        self._server: subprocess.Popen[bytes] | None = None

    def keep(self) -> None:
        """Run the server. Returns when no process uses it and it has stopped."""
        threading.Thread(target=self._stop_when_unused, daemon=True).start()
        while True:
            with self._starting:
                if self._unused.is_set():
                    return
                # Start it in the main thread, because the server dies with the thread that started it.
                self._server = subprocess.Popen(self._command, stdin=subprocess.DEVNULL)
            self._server.wait()
            self._unused.wait(RESTART_SECONDS)

    def _stop_when_unused(self) -> None:
        # Keep the lock until this process ends, so that a new user waits until the server has stopped.
        self._lock = os.open(self._users, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        with self._starting:
            self._unused.set()
            server = self._server
        if server:
            server.terminate()
            with suppress(subprocess.TimeoutExpired):
                server.wait(STOP_SECONDS)
            server.kill()


def become_server(parent: int, command: list[str]) -> None:
    """Replace this process by the server. On Linux, the server ends if its keeper is killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            sys.exit("the keeper died before the server began")
    os.execv(command[0], command)


def main() -> None:
    first, *rest = sys.argv[1:]
    if first == CHILD:
        become_server(int(rest[0]), rest[1:])
    if os.fork():
        os._exit(0)  # the program that starts the keeper does not wait for it
    os.setsid()
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    Keeper(first, [sys.executable, "-I", "-S", __file__, CHILD, str(os.getpid()), *rest]).keep()


if __name__ == "__main__":
    main()
