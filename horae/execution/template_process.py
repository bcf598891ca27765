"""The template process, as seen by the process that started it."""

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

from horae.errors import NotBegun
from horae.execution.channel import MESSAGE_LIMIT_BYTES, encoded, pair
from horae.execution.forked_run import ForkedRun, Hearer, Outputs
from horae.execution.template import PROGRAM

log = logging.getLogger(__name__)
TERM_WAIT_SECONDS = 2.0
END_WAIT_SECONDS = 3.0
FORK_WAIT_SECONDS = 10.0
"""A template process that needs longer for a fork is stopped or stuck, and is replaced."""
FULL_WAIT_SECONDS = 0.02


class TemplateProcess:
    """Kill it, or close it, which ends its runs first. `gone` is done when the process has ended."""

    def __init__(self) -> None:
        self._control, self._theirs = pair()
        self._control.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._numbers = count()
        self._runs: dict[int, ForkedRun] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._process: asyncio.subprocess.Process
        self.gone: asyncio.Task[None]

    @classmethod
    async def start(
        cls, target: str, arguments: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None
    ) -> "TemplateProcess":
        """Returns when it is ready to fork; raises NotBegun if it ends instead. `env`: its whole environment. Default:
        that of this process.
        """
        own = cls()
        with own._theirs, ExitStack() as unless_started:
            unless_started.callback(own._control.close)
            own._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", PROGRAM, str(own._theirs.fileno()), str(os.getpid()), target, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=2,  # the output of an import
                pass_fds=[own._theirs.fileno()],
                cwd=folder,
                env=env,
                start_new_session=True,
            )
            unless_started.pop_all()
        own._loop.add_reader(own._control, own._hear)
        own.gone = asyncio.create_task(own._watch(), name="template")
        try:
            await asyncio.wait([own._ready, own.gone], return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await own.kill()
            raise
        if not own._ready.done():
            raise NotBegun(
                f"the template process of runs ended with status {own._process.returncode}; its log shows why"
            )
        return own

    async def begin(self, request: bytes, hearer: Hearer, outputs: Outputs = None) -> ForkedRun:
        """A run that begins; the caller ends and releases it. Raises NotBegun if no process could be forked.
        `outputs`: descriptors that are its stdout and stderr. Default: the hearer gets what it writes.
        """
        run = ForkedRun(next(self._numbers), hearer, outputs)
        self._runs[run.number] = run
        try:
            await self._hand_over(run)
            await run.ask(request)
            await asyncio.wait([run.forked], timeout=FORK_WAIT_SECONDS)
            if not run.forked.done():
                log.error(
                    "the template process of runs does not fork; it is replaced", extra={"action": "template_stuck"}
                )
                await self.kill()
            return run
        except OSError as error:
            self.release(run)
            raise NotBegun(f"the template process of runs has ended: {error}") from error
        except BaseException:
            if run.handed_over:
                await asyncio.shield(self.end(run))
            self.release(run)
            raise

    async def _hand_over(self, run: ForkedRun) -> None:
        while True:
            with suppress(BlockingIOError):
                return run.hand_over(self._control, encoded({"run": run.number}))
            await asyncio.sleep(FULL_WAIT_SECONDS)

    async def end(self, run: ForkedRun, grace_seconds: float = TERM_WAIT_SECONDS) -> None:
        """Send SIGTERM to its process group, then SIGKILL. The template process ends all other processes of the run."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(OSError):
                self._control.send(encoded({"kill": run.number, "signal": sign}))
            await asyncio.wait([run.ended], timeout=grace_seconds if sign == signal.SIGTERM else TERM_WAIT_SECONDS)
            if run.ended.done():
                return
        await self.kill()  # the template process itself is stopped; its runs end with it

    def release(self, run: ForkedRun) -> None:
        self._runs.pop(run.number, None)
        run.close()

    async def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await asyncio.wait([self.gone])

    async def close(self) -> None:
        """End its runs and all their processes."""
        with suppress(ProcessLookupError):
            self._process.terminate()
        await asyncio.wait([self.gone], timeout=END_WAIT_SECONDS)
        await self.kill()

    async def _watch(self) -> None:
        status = await self._process.wait()
        self._hear()
        self._loop.remove_reader(self._control)
        self._control.close()
        for run in list(self._runs.values()):
            run.end(-signal.SIGKILL)  # the system ends the runs with their template process
        if status and self._ready.done():
            log.error("the template process of runs ended with status %d", status, extra={"action": "template_gone"})

    def _hear(self) -> None:
        with suppress(BlockingIOError, ConnectionError):
            while data := self._control.recv(MESSAGE_LIMIT_BYTES):
                message = json.loads(data)
                if "ready" in message:
                    self._ready.set_result(None)
                elif run := self._runs.get(message.get("forked", message.get("ended"))):
                    self._heard(run, message)
            self._loop.remove_reader(self._control)

    def _heard(self, run: ForkedRun, message: dict[str, int]) -> None:
        if "forked" in message:
            run.pid = message["pid"]
            if not run.forked.done():
                run.forked.set_result(None)
            return
        if refused := message.get("refused"):
            log.error("cannot fork a process for a run: %s", refused, extra={"action": "fork_refused"})
        run.end(message.get("status", 1))
