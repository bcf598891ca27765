"""A rule about one job's declared data, and the subject it looks at."""

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

if TYPE_CHECKING:  # `horae decide` reads no YAML
    from horae.prefect.yaml.flow_source import FlowSource

VISIBLE, DISTRIBUTED, _, COMPLEX = (step.yes_traits for step in STEPS)
FOLDERS: Mapping[str, str] = {tier.folder: tier.folder for tier in Tier}
"""The folder of each tier's jobs by the name of its setting, where nothing is set."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A job on its tier; for `horae decide` only its traits and schedule are there."""

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
"""What fills the placeholders of the rule's message when it trips; None when it does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRule:
    """A rule, the tiers whose jobs it is about, and what trips it.

    {flows}, {infra} and {internal} in its remedy stand for the folders.
    """

    rule: Rule
    tiers: frozenset[Tier]
    message: str
    """A sentence with placeholders that `trips` fills; {name} is always there."""
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
    """A predicate on a declared job; it says nothing of a hypothetical one."""
    return lambda subject: predicate(subject.job) if subject.job else None


def with_flow(predicate: Callable[["FlowSource", Job], Tripped]) -> Callable[[Subject], Tripped]:
    """A predicate on a flow whose source was read."""
    return lambda subject: predicate(subject.flow, subject.job) if subject.flow and subject.job else None


def any_of_traits(traits: frozenset[Trait]) -> Callable[[Subject], Tripped]:
    """Trips on any of those traits, and names them."""

    def trips(subject: Subject) -> Tripped:
        found = sorted(subject.traits & traits)
        return when(bool(found), traits=", ".join(found))

    return trips


def spoken(duration: timedelta | None) -> str:
    """A duration for a sentence: `10s`, `5m`, `1h30m`."""
    return "never" if duration is None else format_duration(duration)


def missing_context(job: Job) -> str:
    """What the job's function says when called without context, as a scheduled fire does; empty when it is fine."""
    try:
        job.accepts({})
    except InvalidJob as error:
        return error.message
    return ""
