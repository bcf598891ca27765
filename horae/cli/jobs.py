"""`horae jobs`: every job, when it is due, and how it last ended."""

import sys
from typing import TYPE_CHECKING

import typer

from horae import clock
from horae.cli.options import Json
from horae.cli.project import jobs_of, settings_of
from horae.errors import StoreError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.settings import Settings
from horae.store.values import Latest

if TYPE_CHECKING:
    from horae.cli.output import Cell
    from horae.store.glance import Standing

UNKNOWN = Latest(newest=None, settled=None)


def command(context: typer.Context, json: Json = False) -> int:
    """All jobs: tier, schedule, next fire, last verdict.

    \b
    horae jobs
    horae jobs --json | jq '.[] | select(.last_verdict != "ran") | .name'
    """
    settings = settings_of(context)
    registry = jobs_of(settings)
    standing = _standing(settings, registry.names)
    latest = standing.latest if standing else {}
    rows = [(job, latest.get(job.name, UNKNOWN), _paused(job, standing)) for job in registry]
    if json:
        from horae.cli.output import print_json
        from horae.shapes.jobs import job_shape

        print_json([job_shape(*row, clock.now()) for row in rows])
    else:
        _draw(rows, settings)
    _warn(settings, registry)
    _warn_of_providers(settings)
    return 0


def _warn(settings: Settings, registry: Registry) -> None:
    """A line on stderr for each flow that nothing deploys, and for what Prefect fires beside what the files say."""
    from horae.prefect.deployed import leftovers
    from horae.prefect.rules import NO_DEPLOYMENT

    here = [problem for problem in registry.problems if problem.code == NO_DEPLOYMENT.code]
    there = leftovers(settings, registry.deployments) if registry.by_tier(Tier.PREFECT) else []
    for finding in (*here, *there):
        if finding.code not in settings.check.ignore:
            print(f"horae: {finding.code} {finding.message}", file=sys.stderr)


def _warn_of_providers(settings: Settings) -> None:
    """A line on stderr for each provider whose relay does not publish what is due."""
    from horae.cli.routes import PATIENCE, overdue_words, routes_of

    found = routes_of(settings)
    for runs in found.runs if found else ():
        if runs.overdue > PATIENCE:
            print(f"horae: provider {runs.provider or 'of the default'}: {overdue_words(runs)}", file=sys.stderr)


def _paused(job: Job, standing: "Standing | None") -> bool | None:
    return bool(standing.paused & {job.name, None}) if standing else None


def _standing(settings: Settings, names: tuple[str, ...]) -> "Standing | None":
    """Where the jobs stand; without a store that answers, where they stood by the snapshot, and stderr says why."""
    if settings.store.url is None:
        return _remembered(settings, "no state store is configured, and no `horae up` is running here")
    from horae.store.glance import glance

    url = settings.store.url.get_secret_value()
    try:
        # A glance knows the URL alone.
        found = None if settings.store.given else glance(url, settings.namespace, names)
        if found is None:
            import asyncio

            found = asyncio.run(_ask(settings, names))
        return found
    except StoreError as error:
        from horae.redis.address import shown

        return _remembered(settings, error.message, shown(url))


def _remembered(settings: Settings, why: str, store: str | None = None) -> "Standing | None":
    from horae.store.snapshot import read

    found = read(settings.state, settings.namespace, store)
    if found is None:
        print(f"horae: the verdicts cannot be shown: {why}", file=sys.stderr)
        return None
    from horae.words import relative

    print(f"horae: the verdicts come from a snapshot, {relative(found.at, clock.now())}: {why}", file=sys.stderr)
    return found.standing


async def _ask(settings: Settings, names: tuple[str, ...]) -> "Standing":
    from horae.store import connect
    from horae.store.glance import Standing

    async with connect(settings) as store:
        return Standing(latest=await store.ledger.latest(names), paused=await store.pauses.paused())


def _draw(rows: list[tuple[Job, Latest, bool | None]], settings: Settings) -> None:
    from horae.cli.columns import print_columns
    from horae.cli.output import state_of
    from horae.words import relative, took

    if not rows:
        folders = settings.folders
        print(
            f"horae: this project has no jobs yet; write a function with @job in {folders.infra}/ or "
            f"{folders.internal}/",
            file=sys.stderr,
        )
        return
    now = clock.now()
    print_columns(
        ("job", "tier", "schedule", "next fire", "last verdict", "ended", "took", "now"),
        [
            (
                job.name,
                job.tier.label,
                str(job.schedule) if job.schedule else "when asked",
                relative(following, now) if (following := job.next_fire(now)) else "-",
                state_of(settled) if (settled := latest.settled) else "-",
                relative(settled.ended_at, now) if settled and settled.ended_at else "",
                took(settled.duration_seconds) if settled else "",
                _now(latest, paused),
            )
            for job, latest, paused in rows
        ],
        below=("schedule", "ended", "took", "tier", "now"),
    )


def _now(latest: Latest, paused: bool | None) -> "Cell":
    from horae.cli.output import state_of

    text, colour = state_of(latest.newest) if latest.newest and not latest.newest.state.settled else ("", "")
    return (f"paused, {text}" if text else "paused", "yellow") if paused else (text, colour)
