"""The process of one flow run, as the worker sees it: a fork of a template, or a plain process."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from horae.execution.forked_run import ForkedRun
from horae.execution.template_process import TemplateProcess
from horae.warm.template import CANCEL
from horae.warm.templates import Kind, Templates

KILL_SECONDS = 5.0


class Running(Protocol):
    pid: int

    async def wait(self) -> int:
        """The exit status, negative for a signal."""

    async def end(self, grace_seconds: float) -> None:
        """Send SIGTERM to the process and its group, and after `grace_seconds` SIGKILL. Returns when it has ended."""

    async def cancel(self, grace_seconds: float) -> None:
        """End it, because its flow run was cancelled."""


class _Deaf:
    """Hears nothing: what a flow run writes goes to the descriptors that it was given."""

    def message(self, message: dict[str, Any]) -> None: ...

    def output(self, data: bytes) -> None: ...

    def errors(self, data: bytes) -> None: ...


class Forked:
    def __init__(self, template: TemplateProcess, run: ForkedRun) -> None:
        self._template, self._run, self.pid = template, run, run.pid

    @classmethod
    @asynccontextmanager
    async def begun(
        cls, templates: Templates, kind: Kind, request: Mapping[str, Any], stream: bool
    ) -> AsyncIterator["Forked"]:
        """Raises NotBegun if it did not begin. Leaving the context ends it."""
        with _outputs(stream) as outputs:
            async with templates.running(kind, json.dumps(request).encode(), _Deaf(), outputs) as (template, run):
                own = cls(template, run)
                try:
                    yield own
                finally:
                    if not run.ended.done():
                        await asyncio.shield(own.end(KILL_SECONDS))

    async def wait(self) -> int:
        await asyncio.wait([self._run.ended])
        return self._run.ended.result()

    async def end(self, grace_seconds: float) -> None:
        await self._template.end(self._run, grace_seconds)

    async def cancel(self, grace_seconds: float) -> None:
        if not self._run.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, CANCEL)
            await asyncio.wait([self._run.ended], timeout=grace_seconds)
        if not self._run.ended.done():
            await self.end(KILL_SECONDS)


@contextmanager
def _outputs(stream: bool) -> Iterator[tuple[int, int]]:
    """Where stdout and stderr of a run go: to those of the worker, or nowhere."""
    if stream:
        yield 1, 2
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        yield nowhere, nowhere
    finally:
        os.close(nowhere)


class Plain:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self.pid = process, process.pid

    @classmethod
    @asynccontextmanager
    async def begun(
        cls, command: Sequence[str], folder: Path, env: Mapping[str, str], stream: bool
    ) -> AsyncIterator["Plain"]:
        """Raises OSError if the command cannot be started. Leaving the context ends it."""
        output = None if stream else asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        own = cls(process)
        try:
            yield own
        finally:
            if process.returncode is None:
                await asyncio.shield(own.end(KILL_SECONDS))

    async def wait(self) -> int:
        return await self._process.wait()

    async def end(self, grace_seconds: float) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, sign)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), grace_seconds)
                return

    async def cancel(self, grace_seconds: float) -> None:
        await self.end(grace_seconds)
