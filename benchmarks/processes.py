"""Every process that the bench starts, each in a session of its own, and none left when the context is left."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.errors import BenchError

GRACE_SECONDS = 5.0
"""From SIGTERM to SIGKILL."""
LAST_LINES = 12
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, kw_only=True, eq=False)
class Process:
    name: str
    popen: "subprocess.Popen[bytes]"
    log: Path
    """Its stdout and stderr."""

    @property
    def pid(self) -> int:
        return self.popen.pid

    def must_live(self) -> None:
        """Raises BenchError, with its last words, if it has ended."""
        if self.popen.poll() is not None:
            raise BenchError(f"{self.name} ended with status {self.popen.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def signal(self, sign: signal.Signals) -> None:
        """To it and to all that it started."""
        with suppress(ProcessLookupError, PermissionError):  # they have ended; macOS says the second of a zombie
            os.killpg(self.pid, sign)


class Processes:
    """Use it as a context. `say` hears of each process, with its id."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._alive: list[Process] = []
        self._started = 0

    def start(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> Process:
        """In `folder`, with `environment` on top of this process's own; what it says goes to a file there."""
        self._started += 1
        log = folder / f"{self._started:03}-{name.replace(' ', '-')}.log"
        with undisturbed(), log.open("wb") as file:
            popen = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            process = Process(name=name, popen=popen, log=log)
            self._alive.append(process)
        self._say(f"{name} is process {process.pid}")
        return process

    def answer(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float
    ) -> dict[str, Any]:
        """Run to the end, and read the JSON object of its last line; raises BenchError."""
        process = self.start(name, command, folder, environment)
        try:
            status = process.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise BenchError(f"{name} did not end within {seconds:.0f} s:\n{process.last_words()}") from None
        finally:
            self.end(process)
        if status != 0:
            raise BenchError(f"{name} ended with status {status}:\n{process.last_words()}")
        answer: dict[str, Any] = json.loads(process.log.read_text().splitlines()[-1])
        return answer

    def end(self, *processes: Process) -> None:
        """All of them at once: SIGTERM, and after a while SIGKILL, also to what they started."""
        for process in processes:
            process.signal(signal.SIGTERM)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.popen.wait(GRACE_SECONDS)
            process.signal(signal.SIGKILL)
            process.popen.wait()
            self._alive.remove(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second Ctrl-C must not leave half of them behind; each has GRACE_SECONDS at the most.
        with undisturbed():
            self.end(*reversed(self._alive))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until it is left: not between a process's start and our knowing of it."""
    came: list[int] = []
    before = {sign: signal.signal(sign, lambda number, frame: came.append(number)) for sign in INTERRUPTS}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if came:
        raise KeyboardInterrupt
