"""The template processes of the worker `horae-warm`: one for each flow and environment, and one without a flow."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from horae.errors import NotBegun
from horae.execution.forked_run import ForkedRun, Hearer, Outputs
from horae.execution.template import OUTLIVES
from horae.execution.template_process import TemplateProcess

TARGET = "horae.warm.template:prepare"
MOST_TEMPLATES = 8
"""The most template processes at a time. Each needs about 100 MB. The one that was used least recently is closed."""
OF_THE_RUN = "PREFECT__"
"""Variables that begin with this belong to one flow run. All others are part of what a template is for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a template process is for."""

    entrypoint: str
    """Empty: no flow."""
    folder: Path
    env: tuple[tuple[str, str], ...] = field(repr=False)
    code: tuple[int, int] = (0, 0)
    """Time of change and size of the flow's file. A changed file needs another template."""

    @classmethod
    def of(cls, entrypoint: str, folder: Path, env: Mapping[str, str]) -> "Kind":
        file, colon, _ = entrypoint.rpartition(":")
        with suppress(OSError):
            if colon:
                status = os.stat(folder / file)
                return cls(entrypoint, folder, _shared(env), (status.st_mtime_ns, status.st_size))
        return cls(entrypoint, folder, _shared(env))

    @classmethod
    def without_flow(cls, env: Mapping[str, str]) -> "Kind":
        return cls("", Path.cwd(), _shared(env))


def _shared(env: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in env.items() if not name.startswith(OF_THE_RUN)))


@dataclass(eq=False, slots=True)
class Warm:
    """A template process that starts, serves or waits for its last run."""

    starting: asyncio.Task[TemplateProcess]
    uses: int = 0
    """How many runs come from it, or wait for it."""
    retired: bool = False

    @property
    def ready(self) -> TemplateProcess | None:
        """The process, if it can fork now."""
        if not self.starting.done() or self.starting.cancelled() or self.starting.exception():
            return None
        template = self.starting.result()
        return None if template.gone.done() else template

    @property
    def failed(self) -> bool:
        return self.starting.done() and self.ready is None


class Templates:
    """Close them after use."""

    def __init__(self) -> None:
        self._known: dict[Kind, Warm] = {}
        """The one that was used last is the last."""
        self._closing: set[asyncio.Task[None]] = set()

    def warm(self, kind: Kind) -> Warm:
        """The template process of this kind, started if there is none."""
        found = self._known.pop(kind, None)
        if found is None or found.failed:
            start = TemplateProcess.start(TARGET, [kind.entrypoint, OUTLIVES], kind.folder, env=dict(kind.env))
            found = Warm(asyncio.create_task(start, name="template starts"))
        self._known[kind] = found
        for surplus in list(self._known)[:-MOST_TEMPLATES]:
            old = self._known.pop(surplus)
            old.retired = True
            self._close_if_idle(old)
        return found

    @asynccontextmanager
    async def running(
        self, kind: Kind, request: bytes, hearer: Hearer, outputs: Outputs
    ) -> AsyncIterator[tuple[TemplateProcess, ForkedRun]]:
        """A flow run that has begun, and its template. The caller ends it before leaving the context.

        Until the template of the flow is ready, runs come from the one without a flow. Raises NotBegun if no process
        could be forked.
        """
        warm = self.warm(kind)
        if not warm.starting.done() or warm.failed:
            bare = self.warm(Kind.without_flow(dict(kind.env)))
            await asyncio.wait([warm.starting, bare.starting], return_when=asyncio.FIRST_COMPLETED)
            warm = warm if warm.ready else bare
        warm.uses += 1
        try:
            await asyncio.wait([warm.starting])
            template = warm.ready
            if template is None:
                raise NotBegun("no template process of flow runs could start; the worker's log shows why")
            run = await template.begin(request, hearer, outputs)
            try:
                yield template, run
            finally:
                template.release(run)
        finally:
            warm.uses -= 1
            self._close_if_idle(warm)

    def _close_if_idle(self, warm: Warm) -> None:
        if warm.retired and not warm.uses:
            task = asyncio.create_task(_close(warm), name="template closes")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """End every template process and every flow run."""
        warm = list(self._known.values())
        self._known.clear()
        await asyncio.gather(*(_close(one) for one in warm), *self._closing)


async def _close(warm: Warm) -> None:
    if not warm.starting.done():
        warm.starting.cancel()
        await asyncio.wait([warm.starting])
    if template := warm.ready:
        await template.close()
