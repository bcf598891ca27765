"""Pausing and resuming: in the store what Horae runs, in Prefect what Prefect runs."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from horae.cli.completing import job_names
from horae.cli.project import jobs_of, settings_of, with_store
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.settings import Settings
from horae.shapes.pauses import Switched, switched_shape

Optional = Annotated[
    str | None,
    typer.Argument(metavar="[JOB]", help="The name of a job; `horae jobs` lists them.", autocompletion=job_names),
]
All = Annotated[bool, typer.Option("--all", help="All jobs, including jobs that are added later.")]


def switch(context: typer.Context, job: str | None, all: bool, json: bool, *, pause: bool) -> int:
    """Returns the exit status: 1 if Prefect's part was not done. Raises UnknownName, and UsageError unless either a
    job or all is given."""
    if (job is None) == (not all):
        raise UsageError("no job selected: give the name of a job, or --all")
    settings = with_store(settings_of(context))
    switched = asyncio.run(_Switch(settings, jobs_of(settings), pause=pause).apply(job))
    if json:
        from horae.cli.output import print_json

        print_json(switched_shape(switched))
    else:
        for line in _sentences(switched):
            print(line)
    if switched.flows:
        how = "paused" if pause else "resumed"
        print(
            f"horae: not all flows are {how}: {switched.flows}; run the command again when Prefect answers",
            file=sys.stderr,
        )
    return 1 if switched.flows else 0


class _Switch:
    def __init__(self, settings: Settings, registry: Registry, *, pause: bool) -> None:
        self._settings, self._registry, self._pause = settings, registry, pause

    async def apply(self, name: str | None) -> Switched:
        """`name`: None for everything."""
        from horae.store import connect

        async with connect(self._settings) as store:
            paused = await store.pauses.paused()
            flows, handed_out = "", 0
            if name is not None:
                job = None if name in paused and name not in self._registry else self._registry.get(name)
                name = job.name if job else name
                if job and job.tier is Tier.PREFECT:
                    await self._prefect([job])
            elif not self._pause and None in paused:
                flows = await self._flows(paused)
            if self._pause:
                await store.pauses.pause(name)
            else:
                handed_out = await store.pauses.resume(name)
            if self._pause and name is None:
                # The store comes first: a paused deployment then has its reason there.
                flows = await self._flows(frozenset())
            now = await store.pauses.paused()
        return Switched(
            job=name,
            before=name in paused,
            after=name in now,
            everything=None in now,
            by_name=sorted(one for one in now if one),
            handed_out=handed_out,
            flows=flows,
        )

    async def _flows(self, but: frozenset[str | None]) -> str:
        """Prefect's part of everything. If Prefect is down, the store is still changed; returns why."""
        flows = [job for job in self._registry.by_tier(Tier.PREFECT) if job.name not in but]
        if not flows:
            return ""
        try:
            await self._prefect(flows)
        except (PrefectUnavailable, UsageError) as error:
            return error.message
        return ""

    async def _prefect(self, flows: Sequence[Job]) -> None:
        from horae.prefect.flow_runs import deployment_of, prefect_of

        async with prefect_of(self._settings) as prefect:
            for job in flows:
                deployment = await deployment_of(prefect, job)
                await (prefect.pause_deployment if self._pause else prefect.resume_deployment)(deployment.id)


def _sentences(switched: Switched) -> Iterator[str]:
    name = switched.job or "everything"
    option = switched.job or "--all"
    if switched.after:
        again = switched.before and switched.job
        yield f"{name} is already paused" if again else f"{name} is paused; `horae resume {option}` ends it"
        return
    if switched.everything:
        yield f"{name} is not paused by name, but everything is paused; `horae resume --all` ends that"
    elif switched.before:
        went = switched.handed_out
        waited = f"; {went} waiting run{'s' * (went != 1)} handed out" if went else ""
        yield f"{name} runs again{waited}"
    else:
        yield f"{name} was not paused"
    if switched.job is None and switched.by_name:
        yield f"still paused by name: {', '.join(switched.by_name)}"
