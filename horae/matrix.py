"""The decision matrix: which of the three tiers a job belongs to, and why.

The rules are the four steps of the specification, `docs/reference/decision-matrix.md`, as rows of data. `decide` goes
through them in order. Every combination of traits and schedule leads to a tier.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from horae.jobs.policies import Tier, Trait
from horae.schedules.kinds import Schedule


class Frequency(StrEnum):
    """How often a schedule fires, by its shortest gap. A job without a schedule counts as low."""

    HIGH = "high"
    """Under a minute."""
    MEDIUM = "medium"
    """A minute to an hour, both inclusive."""
    LOW = "low"
    """Over an hour, or no schedule."""


SPOKEN = {
    Frequency.HIGH: "under a minute",
    Frequency.MEDIUM: "a minute to an hour",
    Frequency.LOW: "over an hour, or never by schedule",
}


def frequency(schedule: Schedule | None) -> Frequency:
    """The class of a schedule by its shortest gap between two fires."""
    gap = schedule.shortest_gap() if schedule else None
    if gap is None or gap > timedelta(hours=1):
        return Frequency.LOW
    return Frequency.HIGH if gap < timedelta(minutes=1) else Frequency.MEDIUM


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A question of the matrix, and the tier to which a yes leads."""

    number: int
    question: str
    yes_traits: frozenset[Trait] = frozenset()
    """The answer is yes if the job has any of these traits."""
    yes_frequencies: frozenset[Frequency] = frozenset()
    """The answer is the name of the frequency; any of these counts as yes."""
    yes: Tier
    because: str
    """Why a yes leads to the tier. `decide` fills in {traits} and {frequency}."""


STEPS: tuple[Step, ...] = (
    Step(
        number=1,
        question="Is this task user-facing?",
        yes_traits=frozenset({Trait.DASHBOARD, Trait.OBSERVABILITY, Trait.USER_TRIGGERED}),
        yes=Tier.PREFECT,
        because="it is user-facing ({traits}), so people see and trigger it in the Prefect UI",
    ),
    Step(
        number=2,
        question="Does this task require distributed execution?",
        yes_traits=frozenset({Trait.MULTI_MACHINE, Trait.SURVIVES_RESTARTS, Trait.INFRASTRUCTURE}),
        yes=Tier.ONEIRIC,
        because="it needs durable, distributed execution ({traits}), so it goes through the queue",
    ),
    Step(
        number=3,
        question="How often does this task run?",
        yes_frequencies=frozenset({Frequency.HIGH, Frequency.MEDIUM}),
        yes=Tier.APSCHEDULER,
        because="it is internal and runs often ({frequency}), so it runs in the sidecar",
    ),
    Step(
        number=4,
        question="Is this a complex workflow?",
        yes_traits=frozenset({Trait.DEPENDENT_STEPS, Trait.DAG, Trait.MULTI_REPO}),
        yes=Tier.PREFECT,
        because="it is a complex workflow ({traits}), so Prefect orchestrates its steps",
    ),
)
OTHERWISE = (Tier.APSCHEDULER, "it is internal, infrequent and simple, so it runs in the sidecar")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One question on the path, with its answer."""

    step: int
    question: str
    answer: str
    """`yes`, `no`, or the frequency: `high`, `medium`, `low`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    tier: Tier
    path: tuple[Answer, ...]
    reason: str
    """A sentence."""


def decide(traits: frozenset[Trait], schedule: Schedule | None) -> Decision:
    """Find the one tier for a job with these traits and this schedule."""
    often = frequency(schedule)
    path: list[Answer] = []
    for step in STEPS:
        given = sorted(traits & step.yes_traits)
        leads = bool(given) or often in step.yes_frequencies
        answer = often.value if step.yes_frequencies else ("yes" if leads else "no")
        path.append(Answer(step=step.number, question=step.question, answer=answer))
        if leads:
            because = step.because.format(traits=", ".join(given), frequency=SPOKEN[often])
            return Decision(tier=step.yes, path=tuple(path), reason=_sentence(step.yes, because))
    tier, because = OTHERWISE
    return Decision(tier=tier, path=tuple(path), reason=_sentence(tier, because))


def _sentence(tier: Tier, because: str) -> str:
    return f"{tier.label}: {because}."
