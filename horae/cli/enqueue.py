"""`horae enqueue JOB`: a run of a durable job, accepted now, done by a queue worker."""

import asyncio
import sys
from datetime import datetime
from typing import Annotated, Any

import typer

from horae import clock
from horae.cli.options import Context, JobName, Json, context_of, instant_of
from horae.cli.project import jobs_of, settings_of, with_store
from horae.local.endpoints import read
from horae.project.registry import Registry
from horae.settings import Settings
from horae.store.values import Accepted

Time = Annotated[
    str | None, typer.Option("--at", metavar="INSTANT", help="The earliest time of the run. Default: now.")
]
WAIT = "it reads changed files within seconds. If it was started with --no-reload, start it again"
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider", metavar="NAME", help="The queue provider of the message. Default: Horae's routing decides."
    ),
]


def command(
    context: typer.Context,
    job: JobName,
    at: Time = None,
    given: Context = None,
    provider: Provider = None,
    json: Json = False,
) -> int:
    """Accept a run of a durable job; once this returns, it is in the store and will be run.

    \b
    horae enqueue database-backup --at 2026-12-01T02:00:00Z --context databases='["app.db"]'
    """
    arguments = context_of(given)
    later = instant_of("--at", at) if at is not None else None
    settings = with_store(settings_of(context))
    found = asyncio.run(_enqueue(settings, jobs_of(settings), job, provider, arguments, later))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import accepted_shape

        print_json(accepted_shape(found))
    elif not found.new:
        print(
            f"{found.run_id}  {found.job}: this run with the same uniqueness key is not settled yet, so no second "
            "run was accepted"
        )
    else:
        if not _known_here(settings, found.job):
            print(f"horae: the running `horae up` does not know {found.job} yet; {WAIT}", file=sys.stderr)
        when = f"due {clock.isoformat(found.due)}" if found.due else "due now"
        print(f"{found.run_id}  {found.job} through {found.provider}, {when}")
    return 0


def _known_here(settings: Settings, job: str) -> bool:
    """Whether the processes of a running `horae up` know the job; true where none runs."""
    running = read(settings.state)
    return running is None or running.jobs is None or job in running.jobs


async def _enqueue(
    settings: Settings,
    registry: Registry,
    job: str,
    provider: str | None,
    arguments: dict[str, Any],
    at: datetime | None,
) -> Accepted:
    from horae.scheduler.scheduler import Scheduler

    scheduler = Scheduler(settings, registry)
    async with scheduler.lifecycle():
        return await scheduler.enqueue(job, arguments, at=at, provider=provider)
