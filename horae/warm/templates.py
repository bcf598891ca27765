"""The template processes of the worker `horae-warm`: one for each flow and environment, and one without a flow."""

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from horae.errors import NotBegun
from horae.execution.forked_run import ForkedRun, Hearer, Outputs
from horae.execution.template import OUTLIVES
from horae.execution.template_process import TemplateProcess

log = logging.getLogger(__name__)
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
    env: tuple[tuple[str, str], ...]
    code: tuple[int, int] = (0, 0)
    """Time of change and size of the flow's file. A changed file needs another template."""

    @classmethod
    def of(cls, entrypoint: str, folder: Path, env: Mapping[str, str]) -> "Kind":
        shared = tuple(sorted((name, value) for name, value in env.items() if not name.startswith(OF_THE_RUN)))
        file, colon, _ = entrypoint.rpartition(":")
        with suppress(OSError):
            if colon:
                status = os.stat(folder / file)
                return cls(entrypoint, folder, shared, (status.st_mtime_ns, status.st_size))
        return cls(entrypoint, folder, shared)

    @property
    def bare(self) -> "Kind":
        """The same environment without a flow."""
        return Kind("", self.folder, self.env)


@dataclass(eq=False, slots=True)
class Warm:
    """A template process that starts, serves or waits for its last run."""

    starting: asyncio.Task[TemplateProcess]
    runs: set[ForkedRun] = field(default_factory=set)
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
    """Leaving the context ends every template process and every flow run."""

    def __init__(self) -> None:
        self._known: dict[Kind, Warm] = {}
        """The one that was used last is the last."""
        self._closing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Templates":
        return self

    async def __aexit__(self, *exc: object) -> None:
        warm = list(self._known.values())
        self._known.clear()
        await asyncio.gather(*(_close(one) for one in warm), *self._closing)

    def warm(self, kind: Kind) -> Warm:
        """The template process of this kind, started if there is none."""
        found = self._known.pop(kind, None)
        if found is None or found.failed:
            start = TemplateProcess.start(TARGET, [kind.entrypoint, OUTLIVES], kind.folder, env=dict(kind.env))
            found = Warm(asyncio.create_task(start, name="template starts"))
        self._known[kind] = found
        for surplus in list(self._known)[:-MOST_TEMPLATES]:
            self._retire(self._known.pop(surplus))
        return found

    async def begin(self, kind: Kind, request: bytes, hearer: Hearer, outputs: Outputs) -> tuple[Warm, ForkedRun]:
        """A flow run that begins. Until the template of the flow is ready, runs come from the one without a flow.

        Raises NotBegun if no process could be forked.
        """
        warm = self.warm(kind)
        if not warm.starting.done() or warm.failed:
            bare = self.warm(kind.bare)
            await asyncio.wait([warm.starting, bare.starting], return_when=asyncio.FIRST_COMPLETED)
            warm = warm if warm.starting.done() and not warm.failed else bare
            await asyncio.wait([warm.starting])
        template = warm.ready
        if template is None:
            raise NotBegun("no template process of flow runs could start; the worker's log shows why")
        run = await template.begin(request, hearer, outputs)
        warm.runs.add(run)
        return warm, run

    def release(self, warm: Warm, run: ForkedRun) -> None:
        """The run has ended, or is given up."""
        if template := warm.ready:
            template.release(run)
        warm.runs.discard(run)
        if warm.retired and not warm.runs:
            self._close_soon(warm)

    def _retire(self, warm: Warm) -> None:
        warm.retired = True
        if not warm.runs:
            self._close_soon(warm)

    def _close_soon(self, warm: Warm) -> None:
        task = asyncio.create_task(_close(warm), name="template closes")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


async def _close(warm: Warm) -> None:
    if not warm.starting.done():
        warm.starting.cancel()
        await asyncio.wait([warm.starting])
    if template := warm.ready:
        await template.close()
