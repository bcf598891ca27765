"""A rule about one job's declaration, and the subject that it checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from horae.errors import InvalidJob
from horae.findings import Finding, Rule
from horae.jobs.job import Job
from horae.jobs.policies import Tier, Trait
from horae.matrix import STEPS, Frequency, frequency
from horae.schedules.durations import format_duration
from horae.schedules.kinds import Schedule

if TYPE_CHECKING:  # `horae decide` does not need YAML
    from horae.prefect.yaml.flow_source import FlowSource

VISIBLE, DISTRIBUTED, _, COMPLEX = (step.yes_traits for step in STEPS)
FOLDERS: Mapping[str, str] = {tier.folder: tier.folder for tier in Tier}
"""The default folder of each tier's jobs, by the name of its setting."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A job on its tier. For `horae decide` it has only traits and a schedule."""

    tier: Tier
    traits: frozenset[Trait]
    schedule: Schedule | None
    job: Job | None = None
    flow: "FlowSource | None" = None
    folders: Mapping[str, str] = field(default_factory=lambda: FOLDERS)

    @cached_property
    def frequency(self) -> Frequency:
        return frequency(self.schedule)

    @cached_property
    def gap(self) -> timedelta | None:
        return self.schedule.shortest_gap() if self.schedule else None


type Tripped = Mapping[str, str] | None
"""The values for the placeholders of the rule's message; None if the job follows the rule."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRule:
    """A rule, the tiers that it applies to, and the function that detects a violation.

    {flows}, {infra} and {internal} in the remedy are replaced by the folders.
    """

    rule: Rule
    tiers: frozenset[Tier]
    message: str
    """A sentence with placeholders that `trips` fills. {name} is always available."""
    trips: Callable[[Subject], Tripped]

    def look(self, subject: Subject) -> Finding | None:
        filled = self.trips(subject) if subject.tier in self.tiers else None
        if filled is None:
            return None
        job = subject.job
        message = self.message.format(name=job.name if job else "the job", **filled)
        remedy = self.rule.remedy.format_map(subject.folders)
        return self.rule.finding(message, job=job.name if job else None, at=job.source if job else None, remedy=remedy)


def when(condition: bool, **filled: str) -> Tripped:
    return filled if condition else None


def with_job(predicate: Callable[[Job], Tripped]) -> Callable[[Subject], Tripped]:
    """A predicate for declared jobs. It ignores a hypothetical job."""
    return lambda subject: predicate(subject.job) if subject.job else None


def with_flow(predicate: Callable[["FlowSource", Job], Tripped]) -> Callable[[Subject], Tripped]:
    """A predicate for flows whose source was read."""
    return lambda subject: predicate(subject.flow, subject.job) if subject.flow and subject.job else None


def any_of_traits(traits: frozenset[Trait]) -> Callable[[Subject], Tripped]:
    """A predicate for jobs that have any of these traits. The message names them."""

    def trips(subject: Subject) -> Tripped:
        found = sorted(subject.traits & traits)
        return when(bool(found), traits=", ".join(found))

    return trips


def spoken(duration: timedelta | None) -> str:
    """A duration as text in a sentence: `10s`, `5m`, `1h30m`."""
    return "never" if duration is None else format_duration(duration)


def more_than_once_a_minute(subject: Subject) -> Tripped:
    return when(subject.frequency is Frequency.HIGH, gap=spoken(subject.gap))


def missing_context(job: Job) -> str:
    """The error of a call without context, as a scheduled fire makes it; empty if the call is valid."""
    try:
        job.accepts({})
    except InvalidJob as error:
        return error.message
    return ""
