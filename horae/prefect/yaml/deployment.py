"""What prefect.yaml says of one flow, as values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from horae.errors import InvalidJob, unknown
from horae.findings import Source
from horae.jobs.job import Job
from horae.prefect.yaml.flow_source import FlowSource
from horae.schedules.kinds import Schedule


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
    raw: Mapping[Any, Any] = field(default_factory=dict)
    """What the file says of it, as Prefect loads it."""

    def accepts(self, context: Iterable[str]) -> None:
        """Refuse context keys that the flow has no parameter for, and missing ones; raises InvalidJob."""
        given = set(context)
        for key in sorted(given - set(self.flow.parameters)):
            if not self.flow.takes_any:
                raise InvalidJob(f"job {self.job.name!r}: " + unknown("context key", key, self.flow.parameters))
        missing = [name for name in self.flow.required if name not in given | set(self.parameters)]
        if missing:
            raise InvalidJob(f"job {self.job.name!r} needs context {', '.join(missing)}")
