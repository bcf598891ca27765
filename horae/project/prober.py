"""A program that imports each job file in its own fork, and prints the result as a line of JSON.

python -m horae.project.prober PROJECT SECONDS MODULE...
"""

import json
import os
import select
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pydantic  # noqa: F401  # imported first, so that it does not count as a file's cost

import horae.jobs.context  # noqa: F401
from horae.clock import monotonic
from horae.project.loading import import_job_file

STDOUT, STDERR = 1, 2
WATCHED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
AT_ONCE = os.cpu_count() or 1


class Fork:
    """The import of one file, in its own process group."""

    def __init__(self, project: Path, module: str) -> None:
        self.module, self._began = module, monotonic()
        self._written = tempfile.TemporaryFile()  # noqa: SIM115  # closed by `end`
        self._told, told = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._told)
            _import(project, module, self._written.fileno(), told)
        os.close(told)

    def end(self, seconds: float) -> list[Any]:
        """Wait for the import, kill the processes that it left, and return the result."""
        text = b""
        while select.select([self._told], [], [], max(0.0, self._began + seconds - monotonic()))[0]:
            part = os.read(self._told, 65536)
            text += part
            if not part or b"\n" in text:
                break
        else:
            self._kill()
            return [self.module, f"it did not end within {seconds:g} s", None, []]
        try:
            took, effects = json.loads(text)
        except ValueError:
            return [self.module, self._kill(), None, []]
        written = os.fstat(self._written.fileno()).st_size
        self._kill()
        return [self.module, "", took, [*effects, *(["prints to standard output"] if written else [])]]

    def _kill(self) -> str:
        """Send SIGKILL to the group. Returns how the process itself had ended before."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)
        if not pid:
            status = os.waitpid(self._pid, 0)[1]
        os.close(self._told)
        self._written.close()
        code = os.waitstatus_to_exitcode(status)
        return (
            f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended its process with status {code}"
        )


def _import(project: Path, module: str, stdout: int, told: int) -> None:
    """Import the file, report its side effects on this process, and exit."""
    os.setsid()
    os.dup2(stdout, STDOUT)
    # Otherwise a program that the file starts would keep the caller's pipe open.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
    ours, here, before = os.getpid(), Path.cwd(), [signal.getsignal(one) for one in WATCHED]
    effects, began = [], monotonic()
    with suppress(BaseException):  # the real import reports the error
        import_job_file(project, module)
    took = monotonic() - began
    if os.getpid() != ours:
        os._exit(0)
    with suppress(BaseException):
        sys.stdout.flush()
    try:
        os.fstat(STDOUT)
    except OSError:
        effects.append("closes standard output")
    if Path.cwd() != here:
        effects.append(f"changes the working directory to {str(Path.cwd())!r}")
    left = [one.name for one in threading.enumerate() if one is not threading.main_thread() and not one.daemon]
    if left:
        effects.append(f"starts a thread that does not let its process end ({', '.join(left)})")
    changed = [one.name for one, was in zip(WATCHED, before, strict=True) if signal.getsignal(one) != was]
    if changed:
        effects.append(f"changes the handling of {', '.join(changed)}")
    os.write(told, json.dumps([took, effects]).encode() + b"\n")
    os._exit(0)


def main(project: Path, seconds: float, modules: Sequence[str]) -> None:
    for start in range(0, len(modules), AT_ONCE):
        forks = [Fork(project, module) for module in modules[start : start + AT_ONCE]]
        for fork in forks:
            print(json.dumps(fork.end(seconds)), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
