"""The JSON of a run: `horae fires`, `run`, `show`, `logs`, `cancel`, `enqueue`; docs/reference/json.md has it too."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from horae import clock
from horae.runs import Event, Run, timeline
from horae.store.values import Accepted, Cancelled


def instant(at: datetime | None) -> str | None:
    return clock.isoformat(at) if at else None


def run_shape(run: Run) -> dict[str, Any]:
    """The JSON of a run in `horae fires`."""
    return {
        "run_id": run.run_id,
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "scheduled_for": instant(run.scheduled_for),
        "state": run.state.value,
        "verdict": run.verdict.value if run.verdict else None,
        "reason": run.reason.value if run.reason else None,
        "note": run.note or None,
        "attempts": run.attempts,
        "accepted_at": instant(run.accepted_at),
        "due": instant(run.due),
        "started_at": instant(run.started_at),
        "ended_at": instant(run.ended_at),
        "duration_seconds": run.duration_seconds,
        "error": run.failure.words if run.failure else None,
    }


def whole_run_shape(run: Run) -> dict[str, Any]:
    """The JSON of a run in `horae show`, with all its fields."""
    return run_shape(run) | {
        "worker": run.worker or None,
        "provider": run.provider or None,
        "context": run.context,
        "metadata": run.metadata,
        "progress": run.progress or None,
        "result": run.result,
        "failure": asdict(run.failure) if run.failure else None,
        "replays": run.replays,
        "replayed_as": run.replayed_as,
        "story": story_shape(timeline(run)),
    }


def story_shape(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The JSON of the events of a run, in order."""
    return [
        {
            "at": clock.isoformat(event.at),
            "offset_seconds": event.seconds_after(events[0]),
            "what": event.what,
            "generation": event.generation,
            "note": event.note or None,
        }
        for event in events
    ]


def log_shape(run: Run, lines: Sequence[str]) -> dict[str, Any]:
    """The JSON of `horae logs`."""
    return {"run_id": run.run_id, "job": run.job, "state": run.state.value, "lines": list(lines)}


def cancelled_shape(run: Run, outcome: Cancelled) -> dict[str, Any]:
    """The JSON of `horae cancel`: the run at the end of the command."""
    return {"outcome": outcome.value} | run_shape(run)


def accepted_shape(accepted: Accepted) -> dict[str, Any]:
    """The JSON of `horae enqueue`."""
    return {
        "run_id": accepted.run_id,
        "job": accepted.job,
        "provider": accepted.provider,
        "due": instant(accepted.due),
        "new": accepted.new,
    }
