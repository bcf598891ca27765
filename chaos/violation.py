"""What the checker may find, each under a stable name."""

from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    LOST = "lost"
    """Accepted or fired, and its effect was never done."""
    EXTRA = "extra run"
    """An attempt on a run whose earlier attempt no blow had hit."""
    SKIPPED_CLAIM = "claim without a beginning"
    """Attempt numbers have a gap, and no blow explains it."""
    MISSING_FIRE = "missing fire"
    TWICE = "fire twice"
    """Two runs answer to one fire."""
    STRAY = "stray run"
    """Nobody accepted it and no schedule explains it."""
    TOKEN = "token"
    """Two valid fencing tokens at once, or tokens that do not grow."""
    LATE = "late redelivery"
    """A killed worker's run began elsewhere later than promised, and no other blow fell meanwhile."""
    EARLY = "early fire"
    """A run began before its fire was due."""
    OVERLAP = "overlap"
    """Two runs at once of a job that runs alone."""
    UNDONE = "begun and not finished"
    """The ledger says skipped or missed of a run that was begun."""
    VERDICT = "verdict"
    """Not one verdict for a run, or one that the journal contradicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    fault: Fault
    job: str
    run_id: str
    text: str

    def __str__(self) -> str:
        return f"{self.fault.value}: {self.job} {self.run_id}: {self.text}"
