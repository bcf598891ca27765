"""Deployments and flow runs as values, from the JSON of Prefect's REST API."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from horae import clock


@dataclass(frozen=True, kw_only=True)
class Deployment:
    id: str
    name: str
    """`flow/deployment`."""
    paused: bool
    tags: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Fire:
    """A run that Prefect's scheduler created and that has not begun."""

    run_id: str
    at: datetime
    schedule_id: str
    key: str
    """The idempotency key, which contains the ids of deployment and schedule."""


@dataclass(frozen=True, kw_only=True)
class FlowRun:
    id: str
    name: str
    deployment_id: str | None
    state_type: str
    """SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING, COMPLETED, FAILED, CRASHED or CANCELLED."""
    state_name: str
    """The name of the state, more specific than the type: Late, AwaitingConcurrencySlot, …"""
    message: str
    """The server's reason for the state, or empty."""
    auto_scheduled: bool
    """Whether the run is a fire of the deployment's schedule, created by the server's scheduler or again by Horae."""
    idempotency_key: str | None
    run_count: int
    created: datetime
    expected_start: datetime
    """The planned start."""
    started: datetime | None
    """When the run first began. For a run that was cancelled before it began: the instant of the cancellation."""
    ended: datetime | None
    state_since: datetime
    """When the run entered its state."""
    retries: int
    """The number of retries of the flow after a failure."""

    @property
    def began(self) -> datetime | None:
        """When the run first began; None if it never began."""
        return self.started if self.run_count else None

    @property
    def settled(self) -> bool:
        """Whether the state is final."""
        return self.state_type in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def is_fire(key: str | None) -> bool:
    """Whether an idempotency key belongs to a fire. All keys of Prefect's scheduler begin with this word."""
    return key is not None and key.startswith("scheduled ")


def fire_of(found: Mapping[str, Any]) -> Fire | None:
    """A fire from Prefect's JSON of a flow run; None if no schedule made it."""
    by, key = found.get("created_by") or {}, found.get("idempotency_key")
    if by.get("type") != "SCHEDULE" or not is_fire(key):
        return None
    at = clock.parse_instant(found["expected_start_time"])
    return Fire(run_id=found["id"], at=at, schedule_id=str(by["id"]), key=str(key))


def flow_run_of(found: Mapping[str, Any]) -> FlowRun:
    """A flow run from Prefect's JSON."""
    state = found.get("state") or {}
    expected = found.get("expected_start_time") or found["created"]
    return FlowRun(
        id=found["id"],
        name=found["name"],
        deployment_id=found.get("deployment_id"),
        state_type=found.get("state_type") or "PENDING",
        state_name=found.get("state_name") or "",
        message=state.get("message") or "",
        auto_scheduled=bool(found.get("auto_scheduled")) or is_fire(found.get("idempotency_key")),
        idempotency_key=found.get("idempotency_key"),
        run_count=found.get("run_count") or 0,
        created=clock.parse_instant(found["created"]),
        expected_start=clock.parse_instant(expected),
        started=_instant(found.get("start_time")),
        ended=_instant(found.get("end_time")),
        state_since=clock.parse_instant(state.get("timestamp") or found["created"]),
        retries=(found.get("empirical_policy") or {}).get("retries") or 0,
    )


def log_line(found: Mapping[str, Any]) -> str:
    """A line of a flow run's log: instant, level and text."""
    at = clock.isoformat(clock.parse_instant(found["timestamp"]))
    return f"{at} {logging.getLevelName(found['level'])} {found['name']}: {found['message']}"


def _instant(text: str | None) -> datetime | None:
    return clock.parse_instant(text) if text else None
