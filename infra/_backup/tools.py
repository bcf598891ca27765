"""The client programs of database servers: where they are, and what they say when they fail."""

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from horae.programs import run_program
from infra._backup.engine import BackupFailed

SAID_LIMIT = 500
BROKEN_PIPE = (errno.EPIPE, errno.EINVAL)


def program(names: Sequence[str], folder: str | None, *, install: str, setting: str) -> str:
    """The path of the first of these programs that exists; raises BackupFailed with the package that has it."""
    for name in names:
        if found := shutil.which(name, path=folder):
            return found
    what = " or ".join(names)
    raise BackupFailed(
        f"{what} is not in {folder or 'PATH'}; install it ({install}) or say where it is: [jobs.database-backup] "
        f"{setting}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """How a client program of one database is called."""

    shown: str
    """The database in messages, without its password."""
    timeout_seconds: float
    environment: Mapping[str, str]
    secret: str | None = None
    """Replaced in what the program prints."""

    def run(self, command: Sequence[str], stdin: bytes = b"") -> bytes:
        """Run to the end; returns stdout, raises BackupFailed."""
        done = run_program(command, env=self.environment, timeout_seconds=self.timeout_seconds, stdin=stdin)
        if done.timed_out:
            raise self._late(command)
        if done.status:
            raise self.failure(command, done.status, done.stderr)
        return done.stdout

    @contextmanager
    def reading(self, command: Sequence[str], work: Path) -> Iterator[IO[bytes]]:
        """The program's stdout as it comes: unpacked, a dump may be larger than the disk. Raises BackupFailed."""
        with self._running(command, work, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
            assert process.stdout
            yield process.stdout

    def feed(self, command: Sequence[str], chunks: Iterable[bytes], work: Path) -> None:
        """Write the chunks to the program's stdin, then wait for its end; raises BackupFailed."""
        with self._running(command, work, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin
            try:
                for chunk in chunks:
                    process.stdin.write(chunk)
                process.stdin.close()
            except OSError as error:
                if error.errno not in BROKEN_PIPE:  # the program has ended, and says why on stderr
                    raise

    @contextmanager
    def _running(
        self, command: Sequence[str], work: Path, *, stdin: int, stdout: int
    ) -> Iterator[subprocess.Popen[bytes]]:
        late = threading.Event()
        with (work / "said").open("w+b") as said:
            process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=said, env=self.environment)

            def stop() -> None:
                late.set()
                process.kill()

            alarm = threading.Timer(self.timeout_seconds, stop)
            alarm.start()
            try:
                yield process
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                alarm.cancel()
                for pipe in (process.stdin, process.stdout):
                    _close(pipe)
                process.wait()
            if late.is_set():
                raise self._late(command)
            if process.returncode:
                said.seek(0)
                raise self.failure(command, process.returncode, said.read())

    def failure(self, command: Sequence[str], status: int, stderr: bytes) -> BackupFailed:
        said = " ".join(stderr.decode(errors="replace").split())[-SAID_LIMIT:]
        if self.secret:
            said = said.replace(self.secret, "***")
        if status < 0:
            said = f"{signal.strsignal(-status) or f'signal {-status}'} ended it. {said}".strip()
        return BackupFailed(f"{Path(command[0]).name} of {self.shown} failed: {said or f'exit status {status}'}")

    def _late(self, command: Sequence[str]) -> BackupFailed:
        return BackupFailed(f"{Path(command[0]).name} of {self.shown} took longer than {self.timeout_seconds:g} s")


def _close(pipe: IO[bytes] | None) -> None:
    if pipe:
        with suppress(OSError):  # the program ended before it read all of its input
            pipe.close()


def environment(**changed: str | None) -> dict[str, str]:
    """This process's variables with these changes; None removes one."""
    found = {**os.environ, "LC_ALL": "C"}  # messages are read by code too
    for name, value in changed.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = value
    return found
