"""Every JSON shape has the keys that docs/reference/json.md documents, in that order."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from horae.findings import Finding, Level
from horae.jobs.job import Job
from horae.jobs.policies import Tier
from horae.matrix import decide
from horae.reasons import Reason
from horae.runs import Cause, Run, State
from horae.shapes.findings import finding_shape, review_shape
from horae.shapes.jobs import decision_shape, explanation_shape, job_shape
from horae.shapes.pauses import Switched, switched_shape
from horae.shapes.runs import accepted_shape, cancelled_shape, log_shape, run_shape
from horae.shapes.store import upgrade_shape
from horae.store.redis.schema import OlderClient, SchemaState
from horae.store.values import Accepted, Cancelled, Latest
from tests.unit.cli.test_project_commands import documented

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
RUN = Run(
    run_id="0199-a",
    job="backup",
    tier=Tier.ONEIRIC,
    cause=Cause.ENQUEUE,
    state=State.SKIPPED,
    reason=Reason.DUPLICATE,
    note="0199-b",
)
JOB = Job(name="backup", tier=Tier.ONEIRIC)
FINDING = Finding(code="HR101", level=Level.ERROR, message="no", remedy="do", job="backup", file="x.py", line=1)


def test_a_run() -> None:
    assert list(run_shape(RUN)) == documented("fires")
    assert (run_shape(RUN)["reason"], run_shape(RUN)["note"]) == ("duplicate", "0199-b")
    assert list(log_shape(RUN, ["a"])) == documented("logs")
    assert list(cancelled_shape(RUN, Cancelled.ASKED)) == [*documented("cancel")[:1], *run_shape(RUN)]
    accepted = Accepted(run_id="0199-a", job="backup", provider="redis", due=NOON, new=True)
    assert list(accepted_shape(accepted)) == documented("enqueue")
    assert accepted_shape(accepted)["due"] == "2026-12-01T12:00:00Z"


def test_every_run_has_its_times() -> None:
    asked = replace(RUN, accepted_at=NOON, not_before=NOON + timedelta(hours=1), ended_at=NOON + timedelta(hours=2))
    shape = run_shape(asked)
    times = [shape[key] for key in ("accepted_at", "due", "started_at", "ended_at")]
    assert times == ["2026-12-01T12:00:00Z", "2026-12-01T13:00:00Z", None, "2026-12-01T14:00:00Z"]
    assert run_shape(replace(RUN, accepted_at=NOON))["due"] == "2026-12-01T12:00:00Z"
    fire = replace(RUN, accepted_at=NOON, scheduled_for=NOON - timedelta(hours=1))
    assert run_shape(fire)["due"] == "2026-12-01T11:00:00Z"


def test_a_job() -> None:
    shape = job_shape(JOB, Latest(newest=RUN, settled=RUN), None, NOON)
    assert list(shape) == documented("jobs")
    assert (shape["last_reason"], shape["last_note"], shape["paused"]) == ("duplicate", "0199-b", None)


def test_a_decision_with_its_findings() -> None:
    decision = decide(frozenset(), None)
    assert [*decision_shape(decision), "findings"] == documented("decide")
    assert list(explanation_shape(JOB, decision, [FINDING], None, None, [NOON])) == documented("explain")
    assert list(finding_shape(FINDING)) == documented("check")
    assert list(review_shape(FINDING)) == ["code", "level", "message", "remedy"]


def test_a_pause() -> None:
    switched = Switched(job="a", before=False, after=False, everything=True, by_name=["b"])
    shape = switched_shape(switched)
    assert list(shape) == documented("pause")
    assert (shape["paused"], shape["changed"], shape["paused_by_name"]) == (True, False, ["b"])


def test_an_upgrade() -> None:
    older = OlderClient(address="127.0.0.1:5", age_seconds=3, last_command="evalsha")
    shape = upgrade_shape(SchemaState(schema=2, runs=7, older=[older]), None)
    assert list(shape) == documented("store upgrade")
    assert (shape["schema"], shape["rewritten"], len(shape["older_clients"])) == (2, None, 1)
    assert json.loads(json.dumps(shape)) == shape
