"""`horae move`: send the runs of a job, or of all jobs, to another queue provider."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from horae.cli.options import Json
from horae.cli.pauses import Optional
from horae.cli.project import jobs_of, settings_of, with_store
from horae.errors import UsageError
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.redis.keys import OWN
from horae.runs import State
from horae.settings import Settings
from horae.shapes.moves import Moved, moved_shape
from horae.store.base import Store
from horae.store.values import Only

if TYPE_CHECKING:  # importing it takes longer than the whole help of this command
    from horae.queues.routing import Router

All = Annotated[bool, typer.Option("--all", help="All durable jobs, including jobs that are added later.")]
To = Annotated[str, typer.Option("--to", metavar="PROVIDER", help="The new provider. It must be configured.")]
Preview = Annotated[bool, typer.Option("--preview", help="Print what the command would do, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed if there is no terminal.")]

MOST = 10_000
"""The most waiting runs of one job that are counted."""


def command(
    context: typer.Context,
    to: To,
    job: Optional = None,
    all: All = False,
    preview: Preview = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Send the runs of a durable job, or of all durable jobs, to another queue provider.

    The store keeps a move record. Runs that wait in the outbox move at once; runs whose message a provider already has
    run where they are. `enqueue(provider=...)` goes before the record. The record ends when the code says the same.
    Exit 1 if you answer no.

    \b
    horae move database-backup --to nats --preview
    horae move --all --to redis --yes
    """
    if (job is None) == (not all):
        raise UsageError("no job selected: give the name of a job, or --all")
    settings = with_store(settings_of(context))
    moved = asyncio.run(_move(settings, jobs_of(settings), job, to, preview=preview, yes=yes))
    if json:
        from horae.cli.output import print_json

        print_json(moved_shape(moved))
    else:
        for line in _sentences(moved):
            print(line)
    return 0 if moved.done or preview else 1


async def _move(
    settings: Settings, registry: Registry, name: str | None, to: str, *, preview: bool, yes: bool
) -> Moved:
    """Raises UnknownName, NotConfigured, or UsageError for a job that no queue carries."""
    from horae.queues.opened import open_queues
    from horae.store import connect

    router = open_queues(settings).router
    router.known(to)
    job = _durable(registry, name) if name else None
    async with connect(settings) as store:
        _refuse_lacking(router, [job] if job else registry.by_tier(Tier.ONEIRIC), to)
        planned = await _planned(store, registry, job, to, router)
        if preview or not (yes or _confirmed(planned)):
            return planned
        if planned.record:
            await store.moves.move(to, planned.job)
        elif record := (await store.moves.all()).get(planned.job):
            await store.moves.end(record.provider, planned.job)
        went = [await store.moves.follow(one.provider) for one in await store.outbox.by_provider()]
    return Moved(
        job=planned.job,
        provider=to,
        record=planned.record,
        done=True,
        outbox=sum(went),
        queued=planned.queued,
        by_name=planned.by_name,
    )


def _durable(registry: Registry, name: str) -> Job:
    job = registry.get(name)
    if job.tier is not Tier.ONEIRIC:
        raise UsageError(f"{job.name} is not a durable job, so no queue provider carries its runs")
    return job


def _refuse_lacking(router: "Router", jobs: Sequence[Job], to: str) -> None:
    for job in jobs:
        if lacking := router.lacking(to, job.needs):
            raise UsageError(f"{job.name} needs {lacking}, which the provider {to} does not offer")


async def _planned(store: Store, registry: Registry, job: Job | None, to: str, router: "Router") -> Moved:
    moves = await store.moves.all()
    every, durable = moves.get(None), registry.by_tier(Tier.ONEIRIC)
    if job:
        agrees = router.of(job) == to and (every is None or every.provider == to)
    else:
        agrees = router.choose() == to and all(router.of(one) == to for one in durable)
    outbox, queued = await _elsewhere(store, job, to)
    return Moved(
        job=job.name if job else None,
        provider=to,
        record=not agrees,
        done=False,
        outbox=outbox,
        queued=queued,
        by_name={} if job else {name: move.provider for name, move in moves.items() if name},
    )


async def _elsewhere(store: Store, job: Job | None, to: str) -> tuple[int, int]:
    """How many runs wait in the outbox for other providers, and at other providers."""
    if job is None:
        others = [one for one in await store.outbox.by_provider() if one.provider not in {to, OWN}]
        return sum(one.outbox for one in others), sum(one.queued for one in others)
    waiting = Only(states=frozenset({State.PENDING, State.QUEUED, State.RETRYING}))
    runs = [run for run in await store.ledger.runs(job=job.name, only=waiting, limit=MOST) if run.provider != to]
    queued = sum(run.state is State.QUEUED for run in runs)
    return len(runs) - queued, queued


def _confirmed(planned: Moved) -> bool:
    """Raises UsageError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on; add --yes or --preview")
    what = planned.job or "all durable jobs"
    return typer.confirm(f"Send the runs of {what} to {planned.provider}?", err=True)


def _sentences(moved: Moved) -> Iterator[str]:
    what, to = moved.job or "all durable jobs", moved.provider
    yield f"the runs of {what} {'go' if moved.done else 'would go'} to {to}{_why(moved)}"
    if moved.outbox:
        yield f"{_runs(moved.outbox)} in the outbox: {'moved' if moved.done else 'to be moved, unless a call named it'}"
    if moved.queued:
        yield f"{_runs(moved.queued)} at the old provider: they run there, so keep its settings until they have ended"
    for name, provider in moved.by_name.items():
        yield f"{name} has its own move record, so its runs go to {provider}"


def _why(moved: Moved) -> str:
    if moved.record:
        return " by a move record in the store, until the code names the same provider"
    return ": the code names this provider, so the store keeps no record"


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
