"""Prefect's flow runs in the ledger's words."""

from datetime import UTC, datetime, timedelta

import pytest

from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.prefect.rows import deleted, mirrored, rows_of, state_of
from horae.prefect.values import FlowRun
from horae.reasons import Reason
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
        "state_since": AT + timedelta(seconds=5),
        "retries": 0,
    }
    return FlowRun(state_type=state_type, state_name=state_name or state_type.title(), **(given | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "state", "reason"),
    [
        (flow_run("COMPLETED"), State.RAN, None),
        (flow_run("FAILED"), State.FAILED, "raised"),
        (flow_run("CRASHED"), State.FAILED, "crashed"),
        (
            flow_run("CANCELLED", run_count=0, ended=STARTED, message="Deployment concurrency limit reached."),
            State.SKIPPED,
            "overlap",
        ),
        (flow_run("CANCELLED", run_count=0), State.CANCELLED, "requested"),
        (flow_run("CANCELLED", run_count=0, message="superseded by a newer fire"), State.MISSED, "superseded"),
        (flow_run("CANCELLED", message="concurrency"), State.CANCELLED, "requested"),
        (flow_run("RUNNING"), State.RUNNING, None),
        (flow_run("CANCELLING"), State.RUNNING, None),
        (flow_run("PENDING"), State.QUEUED, None),
        (flow_run("SCHEDULED", "Late"), State.QUEUED, None),
        (flow_run("SCHEDULED", "AwaitingRetry"), State.RETRYING, None),
    ],
)
def test_states(found: FlowRun, state: State, reason: str) -> None:
    assert state_of(found) == (state, reason)


def test_a_scheduled_run_is_the_fire_of_its_instant() -> None:
    run = mirrored("ns", FLOW, flow_run("COMPLETED"))
    assert (run.run_id, run.cause, run.scheduled_for) == (fire_id("ns", "code-sweep", AT), Cause.SCHEDULE, AT)
    assert (run.duration_seconds, run.metadata["flow_run"]) == (2, "f1")


def test_a_run_by_hand_keeps_prefects_id() -> None:
    run = mirrored("ns", FLOW, flow_run("FAILED", auto_scheduled=False, message="boom"))
    assert (run.run_id, run.cause, run.scheduled_for) == ("f1", Cause.MANUAL, None)
    assert run.failure
    assert run.failure.message == "boom"


DAY = FLOW.catch_up_window


def rows(found: FlowRun, missed_by: datetime = AT) -> list[tuple[str, Cause, State, Reason | None]]:
    return [(row.run_id, row.cause, row.state, row.reason) for row in rows_of("ns", FLOW, found, missed_by)]


FIRE = fire_id("ns", "code-sweep", AT)


def test_a_fire_that_was_not_begun_within_the_window_is_missed() -> None:
    waits = flow_run("SCHEDULED", "Late", run_count=0, started=None, ended=None)
    assert rows(waits, AT + DAY) == [(FIRE, Cause.SCHEDULE, State.QUEUED, None)]
    assert rows(waits, AT + DAY + timedelta(seconds=1)) == [(FIRE, Cause.SCHEDULE, State.MISSED, "not started")]


def test_what_prefect_begins_after_the_window_is_a_run_of_its_own() -> None:
    assert rows(flow_run("RUNNING", started=AT + DAY)) == [(FIRE, Cause.SCHEDULE, State.RUNNING, None)]
    assert rows(flow_run("RUNNING", started=AT + DAY + timedelta(seconds=1))) == [
        (FIRE, Cause.SCHEDULE, State.MISSED, "not started"),
        ("f1", Cause.BACKFILL, State.RUNNING, None),
    ]


def test_a_run_that_somebody_asked_for_is_never_written_off() -> None:
    waits = flow_run("SCHEDULED", "Late", auto_scheduled=False, run_count=0, started=None, ended=None)
    assert rows(waits, AT + 2 * DAY) == [("f1", Cause.MANUAL, State.QUEUED, None)]


def test_a_run_that_was_cancelled_before_it_ran_has_no_start_whatever_prefect_says() -> None:
    late = flow_run("CANCELLED", run_count=0, started=AT + 2 * DAY)
    assert rows(late) == [(FIRE, Cause.SCHEDULE, State.CANCELLED, "requested")]
    assert mirrored("ns", FLOW, late).started_at is None


def test_a_deleted_run_is_missed_if_it_was_a_fire_that_had_not_begun() -> None:
    def end(found: FlowRun) -> tuple[State, Reason | None]:
        row = deleted(mirrored("ns", FLOW, found), AT)
        return row.state, row.reason

    assert end(flow_run("SCHEDULED", run_count=0, started=None)) == (State.MISSED, "deleted")
    assert end(flow_run("SCHEDULED", run_count=0, started=None, auto_scheduled=False)) == (State.CANCELLED, "deleted")
    assert end(flow_run("RUNNING")) == (State.CANCELLED, "deleted")
