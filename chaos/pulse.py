"""What became of each fire of a job, when: by the story in the ledger, and by the journal for the beginning."""

from dataclasses import dataclass
from datetime import datetime

from chaos.journal import Reader
from horae.runs import Event, Run
from horae.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Fire:
    """Instants in seconds since the Unix epoch."""

    due: float
    written: float
    published: float
    claimed: float
    claimed_last: float
    """The claim of the attempt that began first; others before it never began."""
    began: float

    @staticmethod
    def seconds(instant: str) -> float:
        return datetime.fromisoformat(instant).timestamp()


async def pulses(store: Store, reader: Reader, job: str) -> list[Fire]:
    """The fires of a job that have begun, oldest first."""
    begun: dict[str, float] = {}
    for line in reader.lines:
        if line.what == "begin":
            begun[line.run_id] = min(line.wall, begun.get(line.run_id, line.wall))
    found = []
    for run_id, began in begun.items():
        run = await store.ledger.run(run_id)
        if run and run.job == job and run.scheduled_for:
            found.append(_fire(run, began))
    return sorted(found, key=lambda fire: fire.due)


def _fire(run: Run, began: float) -> Fire:
    assert run.scheduled_for
    claims = [at for at in _at(run.story, "claimed") if at <= began + 0.1] or [began]
    return Fire(
        due=run.scheduled_for.timestamp(),
        written=_at(run.story, "accepted")[0],
        published=(_at(run.story, "published") or _at(run.story, "accepted"))[0],
        claimed=claims[0],
        claimed_last=claims[-1],
        began=began,
    )


def _at(story: tuple[Event, ...] | list[Event], what: str) -> list[float]:
    return [event.at.timestamp() for event in story if event.what == what]
