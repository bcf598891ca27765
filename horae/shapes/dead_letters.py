"""The JSON of dead letters and of their replays. Documented in docs/reference/json.md."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from horae import clock
from horae.runs import Run, timeline
from horae.shapes.runs import story_shape
from horae.store.values import DeadLetter


def letter_shape(letter: DeadLetter) -> dict[str, Any]:
    """The JSON of a dead letter in `horae dead list`."""
    return {
        "run_id": letter.run_id,
        "job": letter.job or None,
        "at": clock.isoformat(letter.at),
        "reason": letter.reason.value if letter.reason else None,
        "note": letter.note or None,
        "error": letter.failure.words if letter.failure else None,
        "is_message": letter.message is not None,
    }


def whole_letter_shape(letter: DeadLetter, run: Run | None) -> dict[str, Any]:
    """The JSON of a dead letter in `horae dead show` and `horae dead export`. `run`: the run, if the ledger has it."""
    message = letter.message
    return letter_shape(letter) | {
        "message": message.model_dump(mode="json", by_alias=False, exclude={"generation"}) if message else None,
        "body": None if message else letter.body,
        "traceback": (letter.failure.traceback or None) if letter.failure else None,
        "cause": run.cause.value if run else None,
        "attempts": run.attempts if run else 0,
        "story": story_shape(timeline(run)) if run else [],
    }


class Outcome(StrEnum):
    """The result of a request to replay a dead letter."""

    WOULD = "would be replayed"
    REPLAYED = "replayed"
    BEFORE = "replayed before"
    HELD = "held"
    """Another run holds the uniqueness key; the letter stays."""
    GONE = "gone"
    """Another caller replayed or dropped the letter in the meantime."""
    REFUSED = "refused"


@dataclass(slots=True)
class Fate:
    """A dead letter and the result of its replay."""

    letter: str
    job: str
    outcome: Outcome
    run_id: str | None = None
    context: dict[str, Any] = field(default_factory=dict)
    why: str = ""


def fate_shape(fate: Fate) -> dict[str, Any]:
    """The JSON of `horae dead replay`."""
    return {
        "replays": fate.letter,
        "job": fate.job or None,
        "outcome": fate.outcome.value,
        "run_id": fate.run_id,
        "context": fate.context,
        "why": fate.why or None,
    }
