"""Runs a flow on request: creates a flow run through Prefect's API and waits until it ends."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any

from horae import clock
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.job import Job
from horae.prefect.api import PrefectApi
from horae.prefect.rows import mirrored
from horae.prefect.values import Deployment
from horae.runs import Run, Verdict
from horae.settings import Settings

POLL_SECONDS = 1.0
DUE_OR_ON = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")


def prefect_of(settings: Settings) -> PrefectApi:
    """A client of the configured Prefect; raises PrefectUnavailable when none is configured."""
    if settings.prefect.api_url is None:
        raise PrefectUnavailable(
            "no Prefect is configured; run `horae up`, or set HORAE_PREFECT__API_URL to one such as "
            "http://127.0.0.1:4200/api"
        )
    key = settings.prefect.api_key
    return PrefectApi(settings.prefect.api_url.get_secret_value(), key.get_secret_value() if key else None)


async def deployment_of(prefect: PrefectApi, job: Job) -> Deployment:
    """The job's deployment; raises UsageError when Prefect does not have it."""
    found = await prefect.deployment_by_name(job.deployment or "")
    if found is None:
        raise UsageError(f"Prefect has no deployment {job.deployment!r}; run `prefect deploy --all` or `horae up`")
    return found


async def run_flow(
    settings: Settings,
    job: Job,
    parameters: Mapping[str, Any],
    on_line: Callable[[str], None] = lambda line: None,
    idempotency_key: str | None = None,
) -> Run:
    """Create a flow run of the job's deployment and wait until it is settled; `on_line` gets its states."""
    async with prefect_of(settings) as prefect:
        deployment = await deployment_of(prefect, job)
        id = await prefect.create_flow_run(
            deployment.id, parameters=dict(parameters), idempotency_key=idempotency_key, tags=["horae:manual"]
        )
        shown = ""
        while True:
            try:
                flow_run = await prefect.flow_run(id)
            except PrefectUnavailable as error:
                on_line(f"waiting for Prefect: {error}")  # Prefect is restarting; the flow run is not lost
                await asyncio.sleep(POLL_SECONDS)
                continue
            if flow_run is None:
                raise UsageError(f"the flow run {id} was deleted in Prefect")
            if flow_run.state_name != shown:
                shown = flow_run.state_name
                on_line(f"{flow_run.name} {shown}" + (f": {flow_run.message}" if flow_run.message else ""))
            if flow_run.settled:
                return mirrored(settings.namespace, job, flow_run)
            await asyncio.sleep(POLL_SECONDS)


async def run_flow_in_turn(settings: Settings, job: Job, idempotency_key: str) -> Run:
    """Call `run_flow` after the deployment's due and running runs have ended.

    After an outage Prefect's worker starts all overdue runs at once. A concurrency limit that cancels the newer run
    would cancel this one. If that still happens, this function creates the run again.
    """
    async with prefect_of(settings) as prefect:
        deployment = await deployment_of(prefect, job)
        for turn in count():
            await _idle(prefect, deployment)
            key = f"{idempotency_key}/{turn}" if turn else idempotency_key
            run = await run_flow(settings, job, {}, idempotency_key=key)
            if run.verdict is not Verdict.SKIPPED:
                return run
    raise AssertionError("turns do not end")


async def _idle(prefect: PrefectApi, deployment: Deployment) -> None:
    while True:
        with suppress(PrefectUnavailable):  # Prefect is restarting
            if not await prefect.flow_runs([deployment.id], until=clock.now(), state_types=DUE_OR_ON):
                return
        await asyncio.sleep(POLL_SECONDS)
