"""`horae run JOB`: run a job now, in the foreground."""

import asyncio
import sys
from typing import Any, TextIO

import typer

from horae.cli.options import Context, JobName, Json, context_of
from horae.cli.project import jobs_of, settings_of
from horae.local.reachable import lend
from horae.project.registry import Registry
from horae.runs import Run, Verdict
from horae.settings import Settings
from horae.terminal import escaped, escaping


def command(context: typer.Context, job: JobName, given: Context = None, json: Json = False) -> int:
    """Run a job now, in the foreground, and show its output. Exit 1 unless the verdict is `ran`. Prefect runs a flow.

    The command also makes the job's retries. While other runs of the job are active, it waits, unless the job's overlap
    is `allow`. With `cancel_other`, the other runs are asked to end.

    \b
    horae run health-check
    horae run database-backup --context databases='["app.db"]'
    """
    settings = settings_of(context)
    arguments = context_of(given)
    registry = jobs_of(settings)
    job = registry.get(job).name
    if job in registry.deployments:
        # otherwise Prefect would find the error only in the process of the flow run
        registry.deployments[job].accepts(arguments)
    lend(settings)
    from horae.execution.loop import ForegroundLoop

    running = _run(settings, registry, job, arguments, sys.stderr if json else sys.stdout)
    run = asyncio.run(running, loop_factory=ForegroundLoop)
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import run_shape

        print_json(run_shape(run))
    else:
        with escaping():
            _draw(run)
    return 0 if run.verdict is Verdict.RAN else 1


async def _run(settings: Settings, registry: Registry, job: str, given: dict[str, Any], to: TextIO) -> Run:
    from horae.scheduler.scheduler import Scheduler

    def show(line: str) -> None:
        to.write(escaped(line.rstrip("\n")) + "\n")
        to.flush()

    scheduler = Scheduler(settings, registry)
    async with scheduler.lifecycle(receives=False):
        return await scheduler.run_now(job, given, on_line=show)


def _draw(run: Run) -> None:
    from horae.cli.output import paint, state_of
    from horae.words import took

    duration = f" in {took(run.duration_seconds)}" if run.duration_seconds is not None else ""
    print(paint(*state_of(run)) + duration)
    if run.failure:
        print(paint(run.failure.words, "red"))
    if run.result is not None:
        print(_plain(run.result))


def _plain(result: Any) -> str:
    import json

    return result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
