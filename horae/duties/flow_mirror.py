"""Mirrors flow runs from Prefect's API into the ledger: Prefect fires flows, the ledger says what became of them."""

import logging
from datetime import datetime, timedelta

from horae.jobs import Job, Tier
from horae.prefect_api import PrefectApi
from horae.prefect_values import FlowRun
from horae.registry import Registry
from horae.runs import Cause, Failure, Run, State, fire_id
from horae.store.base import Store

log = logging.getLogger(__name__)
POLL_SECONDS = 2.0
LOOK_BACK = timedelta(days=2)
"""How far back the first look goes: what was settled while no sidecar looked."""
OVERLAP = timedelta(minutes=5)


class FlowMirror:
    """A fire is named by its deployment and expected start; a run that no schedule caused keeps Prefect's own id."""

    name = "flow mirror"

    def __init__(self, store: Store, registry: Registry, prefect: PrefectApi) -> None:
        self._store, self._prefect = store, prefect
        self._flows = {job.deployment: job for job in registry.by_tier(Tier.PREFECT) if job.deployment}
        self._deployments: dict[str, Job] = {}
        self._since: datetime | None = None
        self._seen: dict[str, tuple[str, int]] = {}

    async def step(self) -> float:
        if len(self._deployments) < len(self._flows):
            await self._find_deployments()
        if self._deployments:
            await self._mirror()
        return POLL_SECONDS

    async def _find_deployments(self) -> None:
        known = {job.deployment for job in self._deployments.values()}
        for name, job in self._flows.items():
            if name not in known and (found := await self._prefect.deployment_by_name(name)):
                self._deployments[found.id] = job

    async def _mirror(self) -> None:
        now = await self._store.now()
        since = self._since or now - LOOK_BACK
        flow_runs = await self._prefect.flow_runs(list(self._deployments), since=since, until=now)
        changed = [one for one in flow_runs if self._seen.get(one.id) != (one.state_name, one.run_count)]
        if changed:
            await self._store.ledger.record([self._run(one) for one in changed])
        self._seen |= {one.id: (one.state_name, one.run_count) for one in changed}
        open_since = [one.expected_start for one in flow_runs if not one.settled]
        self._since = min([now - OVERLAP, *open_since])
        self._forget(flow_runs)

    def _forget(self, flow_runs: list[FlowRun]) -> None:
        """Settled runs that the next look will not see again."""
        assert self._since
        for one in flow_runs:
            if one.settled and one.expected_start < self._since:
                self._seen.pop(one.id, None)

    def _run(self, flow_run: FlowRun) -> Run:
        return mirrored(self._store.namespace, self._deployments[flow_run.deployment_id or ""], flow_run)


def mirrored(namespace: str, job: Job, flow_run: FlowRun) -> Run:
    """A flow run as a row of the ledger."""
    fire = flow_run.expected_start if flow_run.auto_scheduled else None
    state, reason = state_of(flow_run)
    failure = Failure(type=flow_run.state_name, message=flow_run.message) if state is State.FAILED else None
    return Run(
        id=fire_id(namespace, job.name, fire) if fire else flow_run.id,
        job=job.name,
        tier=Tier.PREFECT,
        cause=Cause.SCHEDULE if fire else Cause.MANUAL,
        state=state,
        scheduled_for=fire,
        reason=reason,
        attempts=flow_run.run_count,
        started_at=flow_run.started,
        ended_at=flow_run.ended,
        worker="prefect",
        metadata={"flow_run": flow_run.id, "name": flow_run.name},
        failure=failure,
    )


def state_of(flow_run: FlowRun) -> tuple[State, str]:
    """Prefect's state in our words: state, and the reason of a verdict."""
    match flow_run.state_type:
        case "COMPLETED":
            return State.RAN, ""
        case "FAILED":
            return State.FAILED, "raised"
        case "CRASHED":
            return State.FAILED, "crashed"
        # Prefect gives also a run that never began a start, the instant of its cancelling; only the count tells.
        case "CANCELLED" if flow_run.run_count == 0 and "concurrency" in flow_run.message.lower():
            return State.SKIPPED, "overlap"
        case "CANCELLED":
            return State.CANCELLED, "requested"
        case "RUNNING" | "CANCELLING" | "PAUSED":
            return State.RUNNING, ""
        case _ if flow_run.state_name == "AwaitingRetry":
            return State.RETRYING, ""
    return State.QUEUED, ""
