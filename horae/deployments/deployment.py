"""What prefect.yaml says of one flow, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from horae.deployments.flow_source import FlowSource
from horae.jobs import Job, Source
from horae.schedules import Schedule


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowSchedule:
    """One entry of a deployment's `schedules`."""

    schedule: Schedule
    at: Source
    slug: str | None = None
    cron: str | None = None
    """The expression, when it is a cron: Prefect's engine reads it its own way."""
    timezone: str = "UTC"
    active: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A flow as it is deployed; `job` is what the registry holds of it."""

    job: Job
    flow: FlowSource
    entrypoint: str
    work_pool: str | None
    schedules: tuple[FlowSchedule, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False
