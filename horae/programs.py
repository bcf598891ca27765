"""Runs another program to its end within a time limit."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LEFT_OPEN_SECONDS = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """How a program ended."""

    status: int
    """Exit status. A negative value is the negated number of the signal that ended the program."""
    stdout: bytes
    stderr: bytes
    timed_out: bool = False
    """Whether the program was killed at the time limit. `stdout` and `stderr` hold its output up to then."""


def run_program(
    command: Sequence[str],
    *,
    timeout_seconds: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes = b"",
) -> Finished:
    """Run a program with `stdin` as its input in its own process group, and wait until it ends.

    The whole group is killed at the time limit, or if the caller is interrupted. Raises OSError if the program cannot
    be started.
    """
    process = subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    timed_out = False
    try:
        stdout, stderr = process.communicate(stdin or None, timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        _kill_group(process)
        stdout, stderr = _rest(process)
    except BaseException:
        _kill_group(process)
        _rest(process)
        raise
    return Finished(status=process.returncode, stdout=stdout, stderr=stderr, timed_out=timed_out)


def _rest(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=LEFT_OPEN_SECONDS)
    except subprocess.TimeoutExpired as expired:  # a descendant that left the group still holds the pipes
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()
        process.wait()
        return expired.output or b"", expired.stderr or b""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
