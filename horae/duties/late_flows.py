"""After an outage of its workers Prefect starts every late fire; where the job says so, only the newest runs."""

import logging
from collections import defaultdict
from datetime import timedelta

from horae import clock
from horae.errors import PrefectUnavailable, UsageError
from horae.jobs.policies import CatchUp, Tier
from horae.prefect.api import PrefectApi
from horae.prefect.rows import SUPERSEDED
from horae.prefect.values import FlowRun
from horae.project.registry import Registry

log = logging.getLogger(__name__)
POLL_SECONDS = 2.0
LOOKED_UP_SECONDS = 60.0
LATE = timedelta(seconds=1)
"""A fire that is due for so long and that no worker has taken waits for one."""


class LateFlows:
    """Cancels a fire that waits for a worker as soon as a newer fire of the same schedule is due.

    For flows with `catch_up="latest"`, which is the tag `horae:latest_only`. While workers are away, one fire of each
    schedule waits. After an outage of Prefect itself a worker may be quicker than this.
    """

    name = "late flows"

    def __init__(self, registry: Registry, prefect: PrefectApi) -> None:
        self._prefect = prefect
        flows = registry.by_tier(Tier.PREFECT)
        self._addresses = [job.deployment for job in flows if job.deployment and job.catch_up is CatchUp.LATEST]
        self._ids: list[str] = []
        self._looked_up: float | None = None

    async def step(self) -> float:
        try:
            await self._look_up()
            if self._ids:
                await self._look()
        except UsageError as error:
            raise PrefectUnavailable(f"Prefect does not allow its late flow runs to be cancelled: {error}") from error
        return POLL_SECONDS

    async def _look_up(self) -> None:
        if self._looked_up is not None and clock.monotonic() - self._looked_up < LOOKED_UP_SECONDS:
            return
        found = [await self._prefect.deployment_by_name(address) for address in self._addresses]
        self._ids = [one.id for one in found if one]
        self._looked_up = clock.monotonic()

    async def _look(self) -> None:
        until = clock.now() - LATE
        waiting = await self._prefect.flow_runs(self._ids, until=until, state_types=["SCHEDULED"])
        of_schedule: dict[tuple[str | None, str], list[FlowRun]] = defaultdict(list)
        for run in waiting:
            # A run that waits for its retry has begun: it is not late.
            if run.auto_scheduled and run.began is None and run.idempotency_key:
                of_schedule[run.deployment_id, _schedule_of(run.idempotency_key)].append(run)
        for runs in of_schedule.values():
            for run in runs[:-1]:
                await self._prefect.set_state(run.id, "CANCELLED", "Cancelled", f"{SUPERSEDED} by a newer fire")
                told = {"action": "flow_run_superseded", "flow_run": run.id}
                log.info(
                    "cancelled flow run %s of %s in favour of a newer fire", run.id, run.expected_start, extra=told
                )


def _schedule_of(key: str) -> str:
    """The id of the schedule in the idempotency key of a fire, which is `scheduled DEPLOYMENT SCHEDULE INSTANT`."""
    return key.split(" ")[2] if key.count(" ") >= 2 else ""
