"""Pausing and resuming: in the store what Horae runs, in Prefect what Prefect runs."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from horae.cli.project import jobs_of, settings_of, with_store
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.settings import Settings
from horae.store.base import Store

Optional = Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job; `horae jobs` lists them.")]
All = Annotated[bool, typer.Option("--all", help="Everything: all jobs, and those that come.")]


def switch(context: typer.Context, job: str | None, all: bool, *, pause: bool) -> int:
    """Raises UnknownName, and UsageError unless either a job or all is given."""
    if (job is None) == (not all):
        raise UsageError("say which: a job, or --all")
    settings = with_store(settings_of(context))
    return asyncio.run(_Switch(settings, jobs_of(settings), pause=pause).job(job))


class _Switch:
    def __init__(self, settings: Settings, registry: Registry, *, pause: bool) -> None:
        self._settings, self._registry, self._pause = settings, registry, pause

    async def job(self, name: str | None) -> int:
        """Returns the exit status."""
        from horae.store import connect

        async with connect(self._settings) as store:
            paused = await store.pauses.paused()
            if name is None:
                return await (self._pause_all(store) if self._pause else self._resume_all(store, paused))
            job = None if name in paused and name not in self._registry else self._registry.get(name)
            name = job.name if job else name
            if job and job.tier is Tier.PREFECT:
                await self._prefect([job])
            print(await self._one(store, name, paused))
        return 0

    async def _one(self, store: Store, name: str, paused: frozenset[str | None]) -> str:
        if self._pause:
            await store.pauses.pause(name)
            return f"{name} is paused already" if name in paused else f"{name} is paused; `horae resume {name}` ends it"
        went = await store.pauses.resume(name)
        if None in paused:
            return f"{name} is not paused by name, but everything is; `horae resume --all` ends it"
        return f"{name} runs again{_went(went)}" if name in paused else f"{name} was not paused"

    async def _pause_all(self, store: Store) -> int:
        # First the store: whoever sees a paused deployment then sees why.
        await store.pauses.pause()
        print("everything is paused; `horae resume --all` ends it")
        return await self._flows(self._registry.by_tier(Tier.PREFECT))

    async def _resume_all(self, store: Store, paused: frozenset[str | None]) -> int:
        by_name = sorted(name for name in paused if name)
        flows = [job for job in self._registry.by_tier(Tier.PREFECT) if job.name not in paused]
        status = await self._flows(flows) if None in paused else 0
        went = await store.pauses.resume()
        if None not in paused:
            print("everything was not paused")
        else:
            print(f"everything runs again{_went(went)}")
        if by_name:
            print(f"still paused by name: {', '.join(by_name)}")
        return status

    async def _flows(self, flows: Sequence[Job]) -> int:
        """Prefect's part of everything: when it is away, the rest is done all the same, and the answer is no."""
        if not flows:
            return 0
        try:
            await self._prefect(flows)
        except (PrefectUnavailable, UsageError) as error:
            how = "paused" if self._pause else "resumed"
            print(f"horae: not all flows are {how}: {error.message}; say it again then", file=sys.stderr)
            return 1
        return 0

    async def _prefect(self, flows: Sequence[Job]) -> None:
        from horae.prefect.flow_runs import deployment_of, prefect_of

        async with prefect_of(self._settings) as prefect:
            for job in flows:
                deployment = await deployment_of(prefect, job)
                await (prefect.pause_deployment if self._pause else prefect.resume_deployment)(deployment.id)


def _went(runs: int) -> str:
    return f"; {runs} waiting run{'s' * (runs != 1)} handed out" if runs else ""
