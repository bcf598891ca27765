"""`horae fires [JOB]`: what became of every fire, and of every other run."""

import asyncio
from datetime import datetime
from typing import Annotated

import typer

from horae import clock
from horae.cli.options import Json, since_of
from horae.cli.project import jobs_of, settings_of, with_store
from horae.runs import Run
from horae.settings import Settings

Optional = Annotated[str | None, typer.Argument(metavar="[JOB]", help="Of this job only.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many, the newest.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="An instant such as 2026-12-01T02:00:00Z, or a duration such as 6h."),
]


def command(
    context: typer.Context, job: Optional = None, limit: Limit = 20, since: Since = None, json: Json = False
) -> int:
    """The ledger, newest first: every fire and every run, and what became of it.

    \b
    horae fires database-backup --since 7d
    horae fires --json | jq '.[] | select(.verdict == "failed")'
    """
    start = since_of(since) if since else None
    settings = with_store(settings_of(context))
    runs = asyncio.run(_runs(settings, job, start, limit))
    if job and not runs:
        jobs_of(settings).get(job)  # a job that was removed still has its runs; a name that never was has none
    if json:
        from horae.cli.output import print_json

        print_json([run.as_dict() for run in runs])
    else:
        _draw(runs)
    return 0


async def _runs(settings: Settings, job: str | None, since: datetime | None, limit: int) -> list[Run]:
    from horae.store import connect

    async with connect(settings) as store:
        return await store.ledger.runs(job=job, since=since, limit=limit)


def _draw(runs: list[Run]) -> None:
    from horae.cli.output import print_columns, state_of, took

    if not runs:
        print("no run yet")
        return
    print_columns(
        ("when", "job", "cause", "state", "took", "attempts", "run", "error"),
        [
            (
                clock.isoformat(at.replace(microsecond=0)) if (at := run.scheduled_for or run.accepted_at) else "",
                run.job,
                run.cause.value,
                state_of(run),
                took(run.duration_seconds),
                str(run.attempts),
                run.id,
                str(run.as_dict()["error"] or ""),
            )
            for run in runs
        ],
    )
