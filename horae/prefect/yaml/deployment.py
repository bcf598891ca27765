"""One deployment of prefect.yaml as values."""

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
    """The cron expression as written, if it is a cron. Prefect's engine may read it differently."""
    timezone: str = "UTC"
    active: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A deployed flow; `job` is its entry in the registry."""

    job: Job
    flow: FlowSource
    entrypoint: str
    work_pool: str | None
    schedules: tuple[FlowSchedule, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    paused: bool = False
    raw: Mapping[Any, Any] = field(default_factory=dict)
    """The deployment's values in the file, as Prefect loads them."""

    def accepts(self, context: Iterable[str]) -> None:
        """Raise InvalidJob for context keys without a parameter in the flow, and for missing required keys."""
        given = set(context)
        for key in sorted(given - set(self.flow.parameters)):
            if not self.flow.takes_any:
                raise InvalidJob(f"job {self.job.name!r}: " + unknown("context key", key, self.flow.parameters))
        missing = [name for name in self.flow.required if name not in given | set(self.parameters)]
        if missing:
            raise InvalidJob(f"job {self.job.name!r} needs context {', '.join(missing)}")
