"""`horae cancel RUN_ID`: end a run, or keep it from beginning."""

import asyncio
from datetime import timedelta
from typing import Annotated

import typer

from horae.cli.options import Json, RunId
from horae.cli.project import jobs_of, settings_of, with_store
from horae.cli.run_ids import identify
from horae.clock import monotonic
from horae.errors import InvalidSchedule, UsageError
from horae.jobs.policies import Tier
from horae.project.registry import Registry
from horae.runs import Run, Verdict
from horae.schedules.durations import parse_duration
from horae.settings import Settings
from horae.store.base import Store
from horae.store.values import Cancelled
from horae.words import state_words

LOOK_SECONDS = 0.2
Wait = Annotated[
    str | None,
    typer.Option(
        "--wait",
        metavar="DURATION",
        help="Wait for the verdict for at most this time, such as 30s. Default: do not wait.",
    ),
]


def command(context: typer.Context, run_id: RunId, wait: Wait = None, json: Json = False) -> int:
    """End a run as `cancelled`, or keep it from beginning; exit 1 if it ends, or ended before, in another way.

    What waits is cancelled at once. What runs is asked to end, and hears of it when its worker renews the lease, within
    seconds; Prefect is asked for a flow run.

    \b
    horae cancel 6c7b7f0e --wait 30s
    """
    patience = _duration(wait)
    settings = with_store(settings_of(context))
    found, outcome = asyncio.run(_cancel(settings, jobs_of(settings), run_id, patience))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import cancelled_shape

        print_json(cancelled_shape(found, outcome))
    else:
        print(_sentence(found, outcome))
    return 0 if found.verdict is Verdict.CANCELLED or (outcome is Cancelled.ASKED and not wait) else 1


def _duration(text: str | None) -> timedelta:
    if text is None:
        return timedelta(0)
    try:
        return parse_duration(text)
    except InvalidSchedule as error:
        raise UsageError(f"--wait: {error.message}") from error


async def _cancel(settings: Settings, registry: Registry, given: str, patience: timedelta) -> tuple[Run, Cancelled]:
    from horae.store import connect

    async with connect(settings) as store:
        run = await identify(store.ledger, given)
        if run.tier is Tier.PREFECT:
            return await _cancel_flow(settings, registry, run, patience)
        return await _cancel_here(store, run, patience)


async def _cancel_here(store: Store, run: Run, patience: timedelta) -> tuple[Run, Cancelled]:
    """Asks again while it waits: a run that fails before it hears of it is handed out again, and the wish is gone."""
    deadline = monotonic() + patience.total_seconds()
    first = outcome = await store.claims.cancel(run.run_id)
    while outcome is Cancelled.ASKED and monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        outcome = await store.claims.cancel(run.run_id)
    return await store.ledger.run(run.run_id) or run, first if outcome is Cancelled.SETTLED else outcome


async def _cancel_flow(settings: Settings, registry: Registry, run: Run, patience: timedelta) -> tuple[Run, Cancelled]:
    """The answer is Prefect's own: the mirror tells the ledger a little later."""
    from horae.prefect.flow_runs import prefect_of
    from horae.prefect.rows import mirrored

    if run.verdict:
        return run, Cancelled.SETTLED
    id, job = run.metadata["flow_run"], registry.get(run.job)
    deadline = monotonic() + patience.total_seconds()
    async with prefect_of(settings) as prefect:
        before = await prefect.flow_run(id)
        found = await prefect.cancel(id)
        while found and not found.settled and monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
            found = await prefect.flow_run(id)
    if before is None or found is None:
        raise UsageError(f"flow run {id} no longer exists in Prefect")
    now = mirrored(settings.namespace, job, found)
    if before.settled:
        return now, Cancelled.SETTLED
    return now, Cancelled.CANCELLED if now.verdict is Verdict.CANCELLED else Cancelled.ASKED


def _sentence(run: Run, outcome: Cancelled) -> str:
    state = state_words(run)
    if outcome is Cancelled.SETTLED:
        return f"{run.run_id} of {run.job} already had its verdict: {state}"
    if run.verdict is Verdict.CANCELLED:
        return f"{run.run_id} of {run.job} is cancelled"
    if run.verdict:
        return f"{run.run_id} of {run.job} ended before the request reached it: {state}"
    told = f"`horae show {run.run_id}` shows its story"
    return f"Horae has asked {run.run_id} of {run.job} to end; it is still {state}; {told}"
