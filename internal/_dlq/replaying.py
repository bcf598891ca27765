"""Reads earlier replays from the store, and makes new ones."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from horae import Cause, Job, Settings, Tier
from horae.errors import HoraeError
from horae.runs import replay_id
from horae.settings import load
from internal._dlq.letters import COUNT, Letter, replays_of
from internal._dlq.planning import Fate, History
from internal._dlq.settings import DlqSettings

if TYPE_CHECKING:
    from horae.store import Store
    from horae.store.values import DeadLetter, NewRun

LOOK_BACK = timedelta(hours=6)
MORE = 200
"""The number of manual replays that the search in the ledger allows for."""
HISTORY_SECONDS = 1.0
"""Time limit for all jobs together; this job has 5 seconds."""
REASON = "dlq-processing"


@lru_cache(maxsize=1)
def durable_jobs(project: Path) -> Mapping[str, Job]:
    """The durable jobs of the project as they were when this process first asked, like those of the sidecar itself."""
    from horae.project import loading

    return {job.name: job for job in loading.load(load(project)).by_tier(Tier.ONEIRIC)}


async def histories(store: "Store", jobs: Iterable[str], own: DlqSettings, now: datetime) -> dict[str, History]:
    """The replay histories of these jobs. Jobs whose history cannot be read in time or in full are left out."""
    import asyncio

    from horae.store.values import Only

    found: dict[str, History] = {}
    limit, deadline = own.most_an_hour + MORE, asyncio.get_running_loop().time() + HISTORY_SECONDS
    for job in sorted(set(jobs)):
        try:
            async with asyncio.timeout_at(deadline):
                runs = await store.ledger.runs(
                    job=job, since=now - LOOK_BACK, only=Only(causes=frozenset({Cause.REPLAY})), limit=limit
                )
        except TimeoutError:
            break
        if len(runs) < limit:
            found[job] = History.of(runs, now)
    return found


def new_run(letter: "DeadLetter", job: Job, settings: Settings) -> "NewRun":
    """The run that replays the letter; raises HoraeError if it is no longer a valid message."""
    from horae.scheduler.replays import metadata_of
    from horae.store.values import NewRun

    assert letter.message
    message = letter.message
    new = NewRun(
        run_id=replay_id(letter.run_id),
        job=job.name,
        tier=Tier.ONEIRIC,
        cause=Cause.REPLAY,
        priority=message.priority,
        provider=job.provider or settings.queue.provider,
        context=message.context,
        metadata=metadata_of(letter, message, REASON) | {COUNT: replays_of(message.metadata) + 1},
        unique=job.uniqueness(message.context),
        replays=letter.run_id,
    )
    new.message.encode(settings.queue.message_limit_bytes)
    return new


async def replay(store: "Store", letters: Sequence[Letter], settings: Settings) -> dict[str, Fate]:
    """Replay these letters, each in one step with its new run. Returns the fates that differ from the plan, by run.

    The id of the new run is derived from the letter, so a job that is killed and run again replays no letter twice.
    """
    jobs = durable_jobs(settings.project)
    fates: dict[str, Fate] = {}
    for letter in letters:
        found = await store.dead_letters.get(letter.run_id)
        if found is None or found.message is None or letter.job not in jobs:
            continue  # dropped or replayed in the meantime
        try:
            new = new_run(found, jobs[letter.job], settings)
        except HoraeError:
            fates[letter.run_id] = Fate.REFUSED
            continue
        [accepted] = await store.outbox.accept([new])
        if not accepted.new and accepted.run_id != new.run_id:
            fates[letter.run_id] = Fate.HELD
    return fates
