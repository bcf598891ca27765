"""The runs of jobs with run_on_start, which a start of `horae up` requests and waits for."""

import asyncio
from contextlib import suppress

from horae.errors import HoraeError, StartError, StoreUnavailable
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.flow_runs import run_flow_in_turn
from horae.project.registry import Registry
from horae.runs import Cause, Run
from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings
from horae.store import Store, connect
from horae.up.board import Board
from horae.up.prefect_parts import NOT_INSTALLED

POLL_SECONDS = 0.5


async def ran(settings: Settings, registry: Registry, board: Board, job: Job, run_id: str) -> Run | None:
    """The settled run. None, with a message, if it could not be requested."""
    board.say(f"running {job.name}")
    try:
        run = await _run_of(settings, registry, job, run_id)
    except HoraeError as error:
        board.say(f"{job.name} could not be run: {error}", "red")
        return None
    board.settled(run)
    return run


async def _run_of(settings: Settings, registry: Registry, job: Job, run_id: str) -> Run:
    """Request a run under this id, once for this start, and wait for its verdict. Raises StartError,
    PrefectUnavailable, or the errors of an enqueue.
    """
    if job.tier is Tier.PREFECT and settings.prefect.api_url is None:
        raise StartError(NOT_INSTALLED)
    if job.tier is Tier.PREFECT:
        return await run_flow_in_turn(settings, job, run_id)
    if job.tier is Tier.ONEIRIC:
        scheduler = Scheduler(settings, registry)
        async with scheduler.lifecycle():
            await scheduler.enqueue(job, run_id=run_id, cause=Cause.MANUAL)
    async with connect(settings) as store:
        return await _settled(store, run_id)


async def _settled(store: Store, run_id: str) -> Run:
    while True:
        with suppress(StoreUnavailable):  # it is restarted; the run is not lost
            run = await store.ledger.run(run_id)
            if run and run.verdict:
                return run
        await asyncio.sleep(POLL_SECONDS)
