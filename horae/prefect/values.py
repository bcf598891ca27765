"""Deployments and flow runs, as Prefect's REST API tells of them."""

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
class FlowRun:
    id: str
    name: str
    deployment_id: str | None
    state_type: str
    """SCHEDULED, PENDING, RUNNING, PAUSED, CANCELLING, COMPLETED, FAILED, CRASHED or CANCELLED."""
    state_name: str
    """Finer than the type: Late, AwaitingConcurrencySlot, …"""
    message: str
    """The server's reason for the state, or empty."""
    auto_scheduled: bool
    """Whether the server's scheduler made it, from the deployment's schedule."""
    idempotency_key: str | None
    run_count: int
    created: datetime
    expected_start: datetime
    """When it was to start."""
    started: datetime | None
    """When it first ran; also of a run that was cancelled without ever running: the instant of that."""
    ended: datetime | None

    @property
    def began(self) -> datetime | None:
        """When it first ran; None if it never did."""
        return self.started if self.run_count else None

    @property
    def settled(self) -> bool:
        """Whether its state is final."""
        return self.state_type in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


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
        auto_scheduled=bool(found.get("auto_scheduled")),
        idempotency_key=found.get("idempotency_key"),
        run_count=found.get("run_count") or 0,
        created=clock.parse_instant(found["created"]),
        expected_start=clock.parse_instant(expected),
        started=_instant(found.get("start_time")),
        ended=_instant(found.get("end_time")),
    )


def log_line(found: Mapping[str, Any]) -> str:
    """A line of a flow run's log: instant, level and text."""
    at = clock.isoformat(clock.parse_instant(found["timestamp"]))
    return f"{at} {logging.getLevelName(found['level'])} {found['name']}: {found['message']}"


def _instant(text: str | None) -> datetime | None:
    return clock.parse_instant(text) if text else None
