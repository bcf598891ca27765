"""The sidecar: fires internal jobs, writes the fires of durable jobs, publishes the outbox, and mirrors flow runs."""

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

from horae.apscheduler.absences import Absences
from horae.apscheduler.fires import InternalFires
from horae.apscheduler.host_clock import HostClock
from horae.apscheduler.scheduler import InternalScheduler
from horae.apscheduler.steady_clock import SteadyClock
from horae.clock import EPOCH, isoformat, now
from horae.duties.announcer import Announcer
from horae.duties.dispatcher import Dispatcher
from horae.duties.duty import Duty
from horae.duties.figures import Figures
from horae.duties.flow_mirror import FlowMirror
from horae.duties.flow_pauses import FlowPauses
from horae.duties.flow_rescuer import FlowRescuer
from horae.duties.late_flows import LateFlows
from horae.execution.guardian import Guard
from horae.jobs.policies import Tier
from horae.prefect.api import PrefectApi
from horae.runners.health import HealthServer
from horae.runners.process import opened, run_to_end, serve
from horae.runners.revision import revision_of
from horae.runs import made_at, start_id
from horae.settings import Settings

JUST_STARTED = timedelta(minutes=2)
"""The sidecar runs jobs with run_on_start only this soon after the start of `horae up`. A sidecar that restarts later
does not run them again.
"""
SLOTS = 1000
"""The most internal jobs at once. They share one event loop and do not queue."""


def main(settings: Settings, start: str | None = None) -> NoReturn:
    """Run until SIGTERM or Ctrl-C. `start` names the start of `horae up`; jobs with run_on_start run once for each
    start.
    """
    run_to_end("sidecar", settings, partial(run, settings, start))


async def run(settings: Settings, start: str | None = None, guard: Guard | None = None) -> int:
    """Returns the exit status; raises StartError or UnsafeStore."""
    own = settings.sidecar
    async with opened(settings, "sidecar", SLOTS, guard) as process, AsyncExitStack() as stack:
        listener = HealthServer(process.health, own.health_host, own.health_port, "HORAE_SIDECAR__HEALTH_PORT")
        clock = SteadyClock(trusts_host=False)
        place = process.place
        store = place.store
        fires = InternalFires(store, place.work, place.name, place.metrics.checked, clock.now)
        process.health.details = lambda: _details(fires)
        scheduler = await stack.enter_async_context(InternalScheduler(fires.fire, clock))
        host_clock = HostClock(store, scheduler)
        await host_clock.begin()
        internal = process.registry.by_tier(Tier.APSCHEDULER)
        for job in internal:
            scheduler.add(job)
        revision = revision_of(settings)
        taking: list[Duty] = [Dispatcher(store, process.registry, place.queues.router, place.metrics, revision)]
        taking += [host_clock, Absences(store, process.registry, revision), *place.early_relays()]
        prefect = await _prefect(settings, stack)
        if prefect and process.registry.by_tier(Tier.PREFECT):
            keep = timedelta(days=settings.store.keep_runs_days)
            taking.append(FlowMirror(store, process.registry, prefect, keep))
            taking.append(FlowPauses(store, process.registry, prefect))
            taking.append(FlowRescuer(process.registry, prefect))
            taking.append(LateFlows(process.registry, prefect))
        taking.append(Announcer(store, prefect))
        moving = [*place.movers(), Figures(store, process.registry, place.metrics)]
        if start and now() - (made_at(start) or EPOCH) < JUST_STARTED:
            for job in internal:
                if job.run_on_start:
                    task = asyncio.create_task(fires.run_once(job, start_id(start, job.name)))
                    stack.callback(task.cancel)
        return await serve(process, taking, moving, listener, own.grace_seconds)


async def _prefect(settings: Settings, stack: AsyncExitStack) -> PrefectApi | None:
    if settings.prefect.api_url is None:
        return None
    key = settings.prefect.api_key
    api = PrefectApi(settings.prefect.api_url.get_secret_value(), key.get_secret_value() if key else None)
    return await stack.enter_async_context(api)


def _details(fires: InternalFires) -> dict[str, Any]:
    fired = {job: isoformat(at) for job, at in fires.last_fired.items()}
    return {"last_fired": fired, "results": fires.results}
