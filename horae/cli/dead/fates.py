"""What becomes of dead letters that somebody wants replayed."""

from collections.abc import Sequence

from horae.scheduler.replays import Replay
from horae.shapes.dead_letters import Fate, Outcome
from horae.store.values import Accepted


def settle(fate: Fate, accepted: Accepted) -> None:
    """What came of the wish to replay it."""
    if accepted.new:
        fate.outcome = Outcome.REPLAYED
    elif accepted.run_id == fate.run_id:
        fate.outcome = Outcome.BEFORE
    else:
        fate.outcome, fate.why = Outcome.HELD, f"run {accepted.run_id} has the same uniqueness key"
        fate.run_id = None


def all_well(fates: Sequence[Fate]) -> bool:
    return all(fate.outcome in (Outcome.WOULD, Outcome.REPLAYED) for fate in fates)


def foretold(planned: Replay) -> Fate:
    letter, new = planned.letter, planned.new
    if new is None:
        return Fate(letter.run_id, letter.job, Outcome.REFUSED, why=planned.refused.message if planned.refused else "")
    return Fate(letter.run_id, new.job, Outcome.WOULD, new.run_id, dict(new.context))
