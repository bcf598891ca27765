"""Prefect's flow runs in the ledger's words."""

from datetime import UTC, datetime, timedelta

import pytest

from horae.duties.flow_mirror import mirrored, state_of
from horae.jobs import Job, Tier
from horae.prefect_values import FlowRun
from horae.runs import Cause, State, fire_id

AT = datetime(2026, 3, 4, 2, tzinfo=UTC)
STARTED = AT + timedelta(seconds=3)
FLOW = Job(name="code-sweep", tier=Tier.PREFECT, deployment="code-sweep/code-sweep")


def flow_run(state_type: str, state_name: str = "", **fields: object) -> FlowRun:
    given: dict[str, object] = {
        "id": "f1",
        "name": "brave-bee",
        "deployment_id": "d1",
        "message": "",
        "auto_scheduled": True,
        "idempotency_key": None,
        "run_count": 1,
        "created": AT,
        "expected_start": AT,
        "started": STARTED,
        "ended": AT + timedelta(seconds=5),
    }
    return FlowRun(state_type=state_type, state_name=state_name or state_type.title(), **(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (flow_run("COMPLETED"), State.RAN, ""),
        (flow_run("FAILED"), State.FAILED, "raised"),
        (flow_run("CRASHED"), State.FAILED, "crashed"),
        (
            flow_run("CANCELLED", run_count=0, ended=STARTED, message="Deployment concurrency limit reached."),
            State.SKIPPED,
            "overlap",
        ),
        (flow_run("CANCELLED", run_count=0), State.CANCELLED, "requested"),
        (flow_run("CANCELLED", message="concurrency"), State.CANCELLED, "requested"),
        (flow_run("RUNNING"), State.RUNNING, ""),
        (flow_run("CANCELLING"), State.RUNNING, ""),
        (flow_run("PENDING"), State.QUEUED, ""),
        (flow_run("SCHEDULED", "Late"), State.QUEUED, ""),
        (flow_run("SCHEDULED", "AwaitingRetry"), State.RETRYING, ""),
    ],
)
def test_states(found: FlowRun, state: State, reason: str) -> None:
    assert state_of(found) == (state, reason)


def test_a_scheduled_run_is_the_fire_of_its_instant() -> None:
    run = mirrored("ns", FLOW, flow_run("COMPLETED"))
    assert (run.id, run.cause, run.scheduled_for) == (fire_id("ns", "code-sweep", AT), Cause.SCHEDULE, AT)
    assert (run.duration_seconds, run.metadata["flow_run"]) == (2, "f1")


def test_a_run_by_hand_keeps_prefects_id() -> None:
    run = mirrored("ns", FLOW, flow_run("FAILED", auto_scheduled=False, message="boom"))
    assert (run.id, run.cause, run.scheduled_for) == ("f1", Cause.MANUAL, None)
    assert run.failure
    assert run.failure.message == "boom"
