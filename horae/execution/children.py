"""Runs of jobs in processes of their own: each in a fork of a template that has the job files imported."""

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from horae.errors import ChildDied, RunFailed
from horae.execution.capture import PRINT, STDERR
from horae.execution.fork_server import ForkServer
from horae.execution.run_log import RunLog
from horae.execution.template import WITHOUT

TARGET = "horae.execution.child:prepare"


class Children:
    """The processes of the runs of one process; use it as a context."""

    def __init__(self, project: Path, left_out: Sequence[str] = ()) -> None:
        """`left_out`: job files that are not to be imported."""
        self._server = ForkServer(TARGET, [str(project), *(WITHOUT + file for file in left_out)], project)

    async def __aenter__(self) -> Self:
        await self._server.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._server.__aexit__(*exc)

    async def run(self, request: dict[str, Any], log: RunLog, progress: Callable[[str], None]) -> Any:
        """The job's result. Raises RunFailed with what the job raised, ChildDied, or NotBegun.

        Cancelled, it ends the run's processes first.
        """
        hearing = _Hearing(log, progress)
        status = await self._server.run(json.dumps(request).encode(), hearing)
        answer = hearing.answer
        if answer is None:
            raise ChildDied(f"the child process {_how(status)} without an answer")
        if "error" in answer:
            failure = answer["error"]
            raise RunFailed(failure["type"], failure["message"], failure["traceback"], tuple(failure["kinds"]))
        return answer["result"]


class _Hearing:
    """Hears a run's process: its log, its progress, its answer."""

    def __init__(self, log: RunLog, progress: Callable[[str], None]) -> None:
        self._log, self._progress = log, progress
        self.answer: dict[str, Any] | None = None
        # Beside what the job prints: a line of a subprocess must not be mixed with one of the job's own.
        self.output = log.lines("stdout", PRINT).write_bytes
        self.errors = log.lines("stderr", STDERR).write_bytes

    def message(self, message: dict[str, Any]) -> None:
        if "write" in message:
            self._log.lines(message["of"] + message["write"], message["write"]).write(message["text"])
        elif "log" in message:
            self._log.log(message["log"], message["text"])
        elif "progress" in message:
            self._progress(message["progress"])
        else:
            self.answer = message


def _how(status: int) -> str:
    if status >= 0:
        return f"exited with {status}"
    cause = f"was killed by {signal.Signals(-status).name}"
    return f"{cause} (out of memory, or killed by a person)" if status == -signal.SIGKILL else cause
