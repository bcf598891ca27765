"""Ends flow runs whose process is gone: they look alive to Prefect for ever, and hold their deployment's only slot."""

import logging
from datetime import datetime, timedelta

from horae import clock
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.policies import Tier
from horae.prefect.api import PrefectApi
from horae.prefect.values import FlowRun
from horae.project.registry import Registry

log = logging.getLogger(__name__)
POLL_SECONDS = 5.0
LOOKED_UP_SECONDS = 60.0
"""How often deployments are looked up: their ids and how long a start of theirs may take."""
SILENT = timedelta(seconds=75)
"""A run that sent heartbeats, one each 30 s, and none for so long is dead. Less than the 90 s of the automation, which
can mark a run only as crashed: here it is retried if its flow says so."""
START_GRACE = timedelta(minutes=5)
"""How long a run may stay PENDING, unless its deployment says `grace_period_seconds`: the time of Prefect's leases."""


class FlowRescuer:
    """Looks at the runs of this project's deployments, in any Prefect. Several sidecars may do so at once.

    A run that never sent a heartbeat is left alone while it is RUNNING: nobody can tell. Silence counts from the moment
    at which this process has found Prefect there, so that an outage of Prefect ends no run.
    """

    name = "flow rescuer"

    def __init__(self, registry: Registry, prefect: PrefectApi) -> None:
        self._prefect = prefect
        self._addresses = [job.deployment for job in registry.by_tier(Tier.PREFECT) if job.deployment]
        self._grace: dict[str, timedelta] = {}
        """By id of the deployment."""
        self._looked_up: float | None = None
        self._watching_since: datetime | None = None
        self._beats: dict[str, datetime] = {}

    async def step(self) -> float:
        try:
            await self._look_up()
            await self._look()
        except PrefectUnavailable:
            self._watching_since = self._looked_up = None
            raise
        except UsageError as error:
            raise PrefectUnavailable(f"Prefect does not allow its flow runs to be ended: {error}") from error
        return POLL_SECONDS

    async def _look_up(self) -> None:
        if self._looked_up is not None and clock.monotonic() - self._looked_up < LOOKED_UP_SECONDS:
            return
        self._grace = {}
        for address in self._addresses:
            if found := await self._prefect.deployment_json(address):
                seconds = (found.get("concurrency_options") or {}).get("grace_period_seconds")
                self._grace[found["id"]] = timedelta(seconds=seconds) if seconds else START_GRACE
        self._looked_up = clock.monotonic()

    async def _look(self) -> None:
        now = clock.now()
        self._watching_since = self._watching_since or now
        states = ("PENDING", "RUNNING", "CANCELLING")
        runs = await self._prefect.flow_runs(list(self._grace), state_types=states)
        self._beats = {run.id: self._beats[run.id] for run in runs if run.id in self._beats}
        for run in runs:
            if why := await self._dead(run, now):
                await self._end(run, why)

    async def _dead(self, run: FlowRun, now: datetime) -> str:
        """Why nobody works on a run any more; empty while somebody may."""
        if run.state_type == "PENDING":
            grace = self._grace[run.deployment_id or ""]
            waited = now - run.state_since
            return (
                f"the flow run was PENDING for {waited.total_seconds():.0f} s: no worker began it"
                if waited > grace
                else ""
            )
        assert self._watching_since
        if now - max(run.state_since, self._watching_since) < SILENT:
            return ""
        last = self._beats.get(run.id)
        if last is None or now - last >= SILENT:
            last = await self._prefect.last_heartbeat(run.id)
        if last is None:
            return ""
        self._beats[run.id] = last
        silence = now - max(last, self._watching_since)
        return (
            f"no heartbeat for {silence.total_seconds():.0f} s: the process of the flow run has ended"
            if silence >= SILENT
            else ""
        )

    async def _end(self, run: FlowRun, why: str) -> None:
        if run.state_type == "CANCELLING":
            became = await self._prefect.set_state(run.id, "CANCELLED", "Cancelled", why)
        elif run.run_count and run.run_count <= run.retries:
            became = await self._prefect.set_state(run.id, "SCHEDULED", "AwaitingRetry", why)
        else:
            became = await self._prefect.set_state(run.id, "CRASHED", "Crashed", why)
        told = {"action": "flow_run_ended", "flow_run": run.id, "was": run.state_type, "state": became}
        log.warning("flow run %s (%s): %s", run.name, run.id, why, extra=told)
