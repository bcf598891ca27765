"""What becomes of dead letters that somebody wants replayed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from horae.scheduler.replays import Replay
from horae.store.values import Accepted


class Outcome(StrEnum):
    WOULD = "would be replayed"
    REPLAYED = "replayed"
    BEFORE = "replayed before"
    HELD = "held"
    """Another run has its uniqueness key; the letter stays."""
    GONE = "gone"
    """Replayed or dropped by somebody else meanwhile."""
    REFUSED = "refused"


@dataclass(slots=True)
class Fate:
    """What becomes of a dead letter."""

    letter: str
    job: str
    outcome: Outcome
    run_id: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """docs/reference/json.md"""
        return {
            "replays": self.letter,
            "job": self.job or None,
            "outcome": self.outcome.value,
            "run_id": self.run_id,
            "context": self.context,
            "why": self.why or None,
        }

    def settle(self, accepted: Accepted) -> None:
        """What came of the wish to replay it."""
        if accepted.new:
            self.outcome = Outcome.REPLAYED
        elif accepted.run_id == self.run_id:
            self.outcome = Outcome.BEFORE
        else:
            self.outcome, self.why = Outcome.HELD, f"run {accepted.run_id} has its uniqueness key"
            self.run_id = None


def all_well(fates: Sequence[Fate]) -> bool:
    return all(fate.outcome in (Outcome.WOULD, Outcome.REPLAYED) for fate in fates)


def foretold(planned: Replay) -> Fate:
    letter, new = planned.letter, planned.new
    if new is None:
        return Fate(letter.run_id, letter.job, Outcome.REFUSED, why=planned.refused.message if planned.refused else "")
    return Fate(letter.run_id, new.job, Outcome.WOULD, new.run_id, dict(new.context))
