"""How a run is written in Redis or Valkey: the prefix of every key, and a row of the ledger from its hash."""

import json
from collections.abc import Mapping
from datetime import datetime

from horae.clock import from_millis
from horae.jobs import Tier
from horae.runs import Cause, Event, Failure, Run, State


def key_prefix(namespace: str) -> str:
    """What begins each key: a hash tag, so that a cluster keeps all keys of a namespace together."""
    return f"{{{namespace}}}:"


def run_of(id: str, row: Mapping[str, str]) -> Run:
    """A ledger row from its hash."""
    result = row.get("result")
    return Run(
        id=id,
        job=row["job"],
        tier=Tier(row["tier"]),
        cause=Cause(row["cause"]),
        state=State(row["state"]),
        scheduled_for=_instant(row.get("scheduled_for")),
        reason=row.get("reason", ""),
        attempts=int(row.get("attempts", 0)),
        accepted_at=_instant(row.get("accepted_at")),
        started_at=_instant(row.get("started_at")),
        ended_at=_instant(row.get("ended_at")),
        worker=row.get("worker", ""),
        provider=row.get("provider", ""),
        context=json.loads(row.get("context") or "{}"),
        metadata=json.loads(row.get("metadata") or "{}"),
        progress=row.get("progress", ""),
        result=json.loads(result) if result else None,
        failure=Failure.parse(row.get("failure", "")),
        story=tuple(_event(line) for line in row.get("story", "").splitlines()),
    )


def _instant(text: str | None) -> datetime | None:
    return from_millis(int(text)) if text else None


def _event(line: str) -> Event:
    at, what, attempt, note = line.split("|", 3)
    return Event(at=from_millis(int(at)), what=what, attempt=int(attempt), note=note)
