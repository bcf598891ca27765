"""The JSON of jobs and of the matrix: `horae jobs`, `decide`, `explain`. Documented in docs/reference/json.md."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from horae import clock
from horae.findings import Finding
from horae.jobs.job import Job
from horae.matrix import Decision
from horae.shapes.findings import finding_shape
from horae.store.values import Latest, Move


def job_shape(job: Job, latest: Latest, paused: bool | None, now: datetime) -> dict[str, Any]:
    """The JSON of a job in `horae jobs`. `paused`: None if the store does not answer."""
    following, settled, newest = job.next_fire(now), latest.settled, latest.newest
    return {
        "name": job.name,
        "tier": job.tier.value,
        "schedule": str(job.schedule) if job.schedule else None,
        "next_fire": clock.isoformat(following) if following else None,
        "paused": paused,
        "state": newest.state.value if newest else None,
        "last_verdict": settled.state.value if settled else None,
        "last_reason": settled.reason.value if settled and settled.reason else None,
        "last_note": (settled.note or None) if settled else None,
        "last_run_id": settled.run_id if settled else None,
        "last_ended_at": clock.isoformat(settled.ended_at) if settled and settled.ended_at else None,
        "last_duration_seconds": settled.duration_seconds if settled else None,
        "description": job.description,
        "traits": sorted(trait.value for trait in job.traits),
        "run_on_start": job.run_on_start,
        "file": job.source.file if job.source else None,
        "line": job.source.line if job.source else None,
    }


def decision_shape(decision: Decision) -> dict[str, Any]:
    """The JSON of a decision in `horae explain`. `horae decide` adds the findings."""
    path = [{"step": one.step, "question": one.question, "answer": one.answer} for one in decision.path]
    return {"tier": decision.tier.value, "reason": decision.reason, "path": path}


def explanation_shape(
    job: Job,
    decision: Decision,
    findings: Sequence[Finding],
    providers: Sequence[dict[str, Any]] | None,
    move: Move | None,
    fires: Sequence[datetime],
) -> dict[str, Any]:
    """The JSON of `horae explain`."""
    return {
        "name": job.name,
        "tier": job.tier.value,
        "schedule": str(job.schedule) if job.schedule else None,
        "description": job.description,
        "traits": sorted(trait.value for trait in job.traits),
        "file": job.source.file if job.source else None,
        "line": job.source.line if job.source else None,
        "decision": decision_shape(decision),
        "findings": [finding_shape(finding) for finding in findings],
        "needs": sorted(need.value for need in job.needs),
        "providers": providers,
        "move": {"provider": move.provider, "at": clock.isoformat(move.at)} if move else None,
        "next_fires": [clock.isoformat(fire) for fire in fires],
    }
