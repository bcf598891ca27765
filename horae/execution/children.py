"""Warm child processes for synchronous jobs: kept between runs, ended by a time limit, their death survived."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from horae.errors import ChildDied, RunFailed
from horae.execution.capture import Sink, stamped

TERM_WAIT_SECONDS = 2.0
LINE_LIMIT_BYTES = 8 * 1024 * 1024
STDERR_PIECE_BYTES = 64 * 1024
RUNS_BEFORE_RENEWAL = 500
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    if _libc:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """One child process. It runs one job at a time."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._sink: Sink | None = None
        self._stderr = asyncio.create_task(self._pass_on_stderr())
        self.runs = 0

    @classmethod
    async def start(cls, project: Path) -> "Child":
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "horae.execution.child",
            str(project),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=project,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            limit=LINE_LIMIT_BYTES,
        )
        child = cls(process)
        try:
            await child._reply()
        except BaseException:
            await child.kill()
            raise
        return child

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def run(self, request: dict[str, Any], sink: Sink, progress: Callable[[str], None]) -> Any:
        """The job's result; raises RunFailed with what the job raised, or ChildDied. Once cancelled, kill the child."""
        self._sink, self.runs = sink, self.runs + 1
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ChildDied("the child process was gone before the run began") from error
        while True:
            reply = await self._reply()
            if "log" in reply:
                sink(reply["log"])
            elif "progress" in reply:
                progress(reply["progress"])
            elif "error" in reply:
                failure = reply["error"]
                raise RunFailed(failure["type"], failure["message"], failure["traceback"], tuple(failure["kinds"]))
            else:
                return reply["result"]

    async def _reply(self) -> dict[str, Any]:
        assert self._process.stdout
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
            if code == -signal.SIGKILL:
                cause += " (out of memory, or by hand)"
            raise ChildDied(f"the child process {cause} without an answer")
        reply: dict[str, Any] = json.loads(line)
        return reply

    async def _pass_on_stderr(self) -> None:
        assert self._process.stderr
        async for line in _lines(self._process.stderr):
            text = line.decode(errors="replace").rstrip()
            if self._sink:
                self._sink(stamped("STDERR", text))
            else:
                sys.stderr.write(text + "\n")

    async def kill(self) -> None:
        """SIGTERM to its process group, then SIGKILL."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), TERM_WAIT_SECONDS)
                break
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what the job itself had started
        # Something that the job started in a session of its own may hold the other end for as long as it likes.
        await asyncio.wait([self._stderr], timeout=TERM_WAIT_SECONDS)
        self._stderr.cancel()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Lines, a long one in pieces: a job that fills a pipe which nobody reads stands still."""
    while True:
        try:
            line = await stream.readuntil()
        except asyncio.LimitOverrunError:
            line = await stream.read(STDERR_PIECE_BYTES)
        except asyncio.IncompleteReadError as end:
            line = end.partial
        if not line:
            return
        yield line


class Children:
    """The warm children of one process; use it as a context."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._idle: list[Child] = []
        self._busy: set[Child] = set()

    async def __aenter__(self) -> "Children":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.gather(*(child.kill() for child in (*self._idle, *self._busy)))

    async def run(self, request: dict[str, Any], sink: Sink, progress: Callable[[str], None]) -> Any:
        """Run a request in an idle child, or in a new one. Cancelling it kills the child."""
        while self._idle and not self._idle[-1].alive:
            self._idle.pop()
        child = self._idle.pop() if self._idle else await Child.start(self._project)
        self._busy.add(child)
        try:
            result = await child.run(request, sink, progress)
        except RunFailed:
            await self._put_back(child)
            raise
        except BaseException:
            await asyncio.shield(child.kill())
            raise
        else:
            await self._put_back(child)
            return result
        finally:
            self._busy.discard(child)

    async def _put_back(self, child: Child) -> None:
        if child.runs < RUNS_BEFORE_RENEWAL:
            self._idle.append(child)
        else:
            await child.kill()
