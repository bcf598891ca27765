"""Converts Prefect's flow runs to rows of the ledger, and Prefect's states to Horae's."""

from dataclasses import replace
from datetime import datetime

from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.values import FlowRun
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, fire_id


def rows_of(namespace: str, job: Job, flow_run: FlowRun, missed_by: datetime) -> list[Run]:
    """The rows of a flow run: one, or two for a fire that began after the job's catch-up window.

    A fire that did not begin within the window is `missed`, and stays so. If Prefect begins it later, that is a second
    run with the cause `backfill`. `missed_by`: a fire that was due before this instant and has not begun is missed.
    """
    row = mirrored(namespace, job, flow_run)
    if not flow_run.auto_scheduled:
        return [row]
    due, began = flow_run.expected_start, flow_run.began
    if began and began - due > job.catch_up_window:
        written_off = replace(
            row, state=State.MISSED, reason=Reason.NOT_STARTED, attempts=0, started_at=None, failure=None
        )
        return [
            replace(written_off, ended_at=due + job.catch_up_window),
            replace(row, run_id=flow_run.id, cause=Cause.BACKFILL, scheduled_for=None),
        ]
    if began is None and not row.state.settled and due + job.catch_up_window < missed_by:
        return [replace(row, state=State.MISSED, reason=Reason.NOT_STARTED)]
    return [row]


SUPERSEDED = Reason.SUPERSEDED.value
"""The first words of the message of a flow run that a newer fire replaced before a worker took it."""


def deleted(row: Run, now: datetime) -> Run:
    """The settled row of a run that Prefect has deleted."""
    unbegun = row.started_at is None and row.scheduled_for is not None
    return replace(row, state=State.MISSED if unbegun else State.CANCELLED, reason=Reason.DELETED, ended_at=now)


def mirrored(namespace: str, job: Job, flow_run: FlowRun) -> Run:
    """A flow run as a row of the ledger."""
    fire = flow_run.expected_start if flow_run.auto_scheduled else None
    state, reason = state_of(flow_run)
    failure = Failure(type=flow_run.state_name, message=flow_run.message) if state is State.FAILED else None
    return Run(
        run_id=fire_id(namespace, job.name, fire) if fire else flow_run.id,
        job=job.name,
        tier=Tier.PREFECT,
        cause=Cause.SCHEDULE if fire else Cause.MANUAL,
        state=state,
        scheduled_for=fire,
        reason=reason,
        attempts=flow_run.run_count,
        started_at=flow_run.began,
        ended_at=flow_run.ended,
        worker="prefect",
        metadata={"flow_run": flow_run.id, "name": flow_run.name},
        failure=failure,
    )


def state_of(flow_run: FlowRun) -> tuple[State, Reason | None]:
    """Horae's state for Prefect's state, with the reason of a verdict."""
    match flow_run.state_type:
        case "COMPLETED":
            return State.RAN, None
        case "FAILED":
            return State.FAILED, Reason.RAISED
        case "CRASHED":
            return State.FAILED, Reason.CRASHED
        case "CANCELLED" if flow_run.began is None and flow_run.message.startswith(SUPERSEDED):
            return State.MISSED, Reason.SUPERSEDED
        case "CANCELLED" if flow_run.began is None and "concurrency" in flow_run.message.lower():
            return State.SKIPPED, Reason.OVERLAP
        case "CANCELLED":
            return State.CANCELLED, Reason.REQUESTED
        case "RUNNING" | "CANCELLING" | "PAUSED":
            return State.RUNNING, None
        case _ if flow_run.state_name == "AwaitingRetry":
            return State.RETRYING, None
    return State.QUEUED, None
