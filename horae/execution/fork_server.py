"""Runs requests, each in a fresh fork of a template that it starts, watches and replaces.

async with ForkServer("horae.execution.child:prepare", [str(project)], project) as server:
    status = await server.run(request, hearer)
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from horae.errors import NotBegun
from horae.execution.forked_run import Hearer
from horae.execution.template_process import TemplateProcess

TRIES = 3
"""How often a run that did not begin is tried with another fork, or another template."""
PAUSE_SECONDS = 0.5


class ForkServer:
    """Leaving the context ends every run, and all that the runs have started."""

    def __init__(self, target: str, arguments: Sequence[str], folder: Path) -> None:
        """`target`: `MODULE:FUNCTION`, see `horae.execution.template`; `folder`: where runs begin."""
        self._target, self._arguments, self._folder = target, arguments, folder
        self._starting: asyncio.Task[TemplateProcess] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._starting is None:
            return
        if not self._starting.done():
            self._starting.cancel()
        await asyncio.wait([self._starting])
        if not self._starting.cancelled() and self._starting.exception() is None:
            await self._starting.result().close()

    async def run(self, request: bytes, hearer: Hearer) -> int:
        """The exit status of the run's process, negative for a signal. Cancelled, it ends the process first.

        Raises NotBegun when the request reached no process: nothing of it was done. A process that is gone before it
        has read the request is replaced.
        """
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                return await self._try(request, hearer)
            except NotBegun:
                if last:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError

    async def _try(self, request: bytes, hearer: Hearer) -> int:
        template = await self._template()
        run = await template.begin(request, hearer)
        try:
            await asyncio.wait([run.ended])
        except BaseException:
            await asyncio.shield(template.end(run))
            raise
        finally:
            template.release(run)
        if not run.begun:
            raise NotBegun("the process of the run ended before the run began")
        return run.ended.result()

    async def _template(self) -> TemplateProcess:
        """The one there is, or a new one; a run that is cancelled meanwhile does not stop its start."""
        known = self._starting
        if known is None or (known.done() and (known.cancelled() or known.exception() or known.result().gone.done())):
            start = TemplateProcess.start(self._target, self._arguments, self._folder)
            known = self._starting = asyncio.create_task(start, name="template starts")
        return await asyncio.shield(known)
