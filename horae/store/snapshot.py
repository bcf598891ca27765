"""The last known state of every job, in `.horae/snapshot.json`. Commands read it if the store does not answer.

The bundled job `cache-warming` writes the file. Without that job, or before its first run, the file does not exist.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from horae.clock import isoformat, parse_instant
from horae.jobs.policies import Tier
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State
from horae.store.glance import Standing
from horae.store.values import Latest

FILE = "snapshot.json"
TEXT_CHARACTERS = 300
"""The maximum length of the note, the progress and the error of a run. Context, result and log are not stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    at: datetime
    """When the store was read, by its clock."""
    store: str
    """The address of the store, without a password."""
    namespace: str
    standing: Standing

    def write(self, state: Path) -> None:
        """Write the file atomically, readable only by its owner. Raises OSError; the old file then stays."""
        path = state / FILE
        state.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{FILE}.{os.getpid()}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump(self._shape(), file)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _shape(self) -> dict[str, Any]:
        runs = {
            run.run_id: _row(run)
            for latest in self.standing.latest.values()
            for run in (latest.newest, latest.settled)
            if run
        }
        return {
            "at": isoformat(self.at),
            "store": self.store,
            "namespace": self.namespace,
            "paused": sorted(job for job in self.standing.paused if job),
            "all_paused": None in self.standing.paused,
            "runs": runs,
            "jobs": {name: _ids(latest) for name, latest in self.standing.latest.items()},
        }


def read(state: Path, namespace: str, store: str | None = None) -> Snapshot | None:
    """The snapshot of that namespace, and of that store if given; None if there is none or it cannot be read."""
    try:
        found = json.loads((state / FILE).read_text())
        runs = {id: _run(id, row) for id, row in found["runs"].items()}
        latest = {
            name: Latest(newest=runs.get(newest), settled=runs.get(settled))
            for name, (newest, settled) in found["jobs"].items()
        }
        paused: set[str | None] = {*found["paused"], *([None] if found["all_paused"] else [])}
        snapshot = Snapshot(
            at=parse_instant(found["at"]),
            store=found["store"],
            namespace=found["namespace"],
            standing=Standing(latest=latest, paused=frozenset(paused)),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return snapshot if snapshot.namespace == namespace and store in (None, snapshot.store) else None


def _ids(latest: Latest) -> list[str | None]:
    return [run.run_id if run else None for run in (latest.newest, latest.settled)]


def _row(run: Run) -> dict[str, Any]:
    instants = {name: getattr(run, name) for name in ("scheduled_for", "started_at", "ended_at")}
    failure = run.failure
    return {
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "state": run.state.value,
        "reason": run.reason.value if run.reason else "",
        "note": run.note[:TEXT_CHARACTERS],
        "progress": run.progress[:TEXT_CHARACTERS],
        "error": [failure.type, failure.message[:TEXT_CHARACTERS]] if failure else None,
        **{name: isoformat(at) if at else None for name, at in instants.items()},
    }


def _run(run_id: str, row: Mapping[str, Any]) -> Run:
    error, (reason, note) = row["error"], Reason.read(row["reason"], row["note"])
    return Run(
        run_id=run_id,
        job=row["job"],
        tier=Tier(row["tier"]),
        cause=Cause(row["cause"]),
        state=State(row["state"]),
        reason=reason,
        note=note,
        progress=row["progress"],
        failure=Failure(type=error[0], message=error[1]) if error else None,
        scheduled_for=_instant(row, "scheduled_for"),
        started_at=_instant(row, "started_at"),
        ended_at=_instant(row, "ended_at"),
    )


def _instant(row: Mapping[str, Any], name: str) -> datetime | None:
    return parse_instant(row[name]) if row[name] else None
