"""Replays dead letters with a transient cause every 5 minutes, and reports the others once.

Inside the sidecar because it is small and internal: a fire that is lost is made up for by the next one, and everything
that it knows is in the store.
"""

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from horae import Settings, State, current_run, every, job
from horae.errors import HoraeError
from horae.settings import load
from internal._dlq.letters import Letter, letter_of
from internal._dlq.planning import Fate, Plan, judge, plan
from internal._dlq.raising import Group, grouped, unraised
from internal._dlq.replaying import durable_jobs, histories, replay
from internal._dlq.settings import DlqSettings

if TYPE_CHECKING:
    from horae.store import Store
    from horae.store.base import Ledger

log = logging.getLogger(__name__)
NAME = "dlq-processing"
READ_SECONDS = 2.5
EMIT_SECONDS = 1.0
SHOWN = 20
"""Groups in the result."""


@dataclass(kw_only=True, slots=True)
class Findings:
    """What one run of this job found and did."""

    letters: list[Letter] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    groups: list[Group] = field(default_factory=list)
    news: list[Group] = field(default_factory=list)
    """The groups to report now."""
    marks: dict[str, int] = field(default_factory=dict)
    """What was reported so far; see `unraised`."""
    untold: list[str] = field(default_factory=list)
    """Marks of groups whose events Prefect has not accepted yet."""
    unseen: list[str] = field(default_factory=list)
    """What could not be read or reported."""


@job(name=NAME, schedule=every("5m"), time_limit=timedelta(seconds=5), settings=DlqSettings)
async def dlq_processing(*, dry_run: bool = False) -> dict[str, Any]:
    """Replay dead letters with a transient cause, within limits, and report the others once.

    Returns {"letters", "unseen", "fates": {fate: letters}, "groups": [...], "raised", "untold"}; `letters` is None when
    nothing could be looked at. `dry_run` says what would be done and changes nothing.
    """
    run = current_run()
    settings, own = load(run.project), run.settings or DlqSettings()
    found = Findings()
    if settings.store.url is None:
        found.unseen.append(
            "the dead letters were not read: no state store is configured, and no `horae up` is running here"
        )
    else:
        from horae.store import connect

        async with connect(settings) as store:
            await process(store, settings, own, found, dry_run=dry_run)
        if not dry_run:
            await _raise(settings, found)
    fates = Counter(found.plan.fates.values())
    run.report(_summary(found, fates, dry_run=dry_run))
    return {
        "letters": len(found.letters) if settings.store.url else None,
        "unseen": found.unseen,
        "fates": {fate.value: fates[fate] for fate in Fate if fates[fate]},
        "groups": [group.text for group in found.groups[:SHOWN]],
        "raised": found.marks,
        "untold": found.untold,
    }


async def process(store: "Store", settings: Settings, own: DlqSettings, found: Findings, *, dry_run: bool) -> None:
    """Fill `found`, and replay what the plan says. The caller reports `found.news`."""
    now, jobs = await store.now(), durable_jobs(settings.project)
    await _read(store, settings, own, found)
    judged = {one.run_id: judge(one, jobs.get(one.job), own) for one in found.letters}
    candidates = {one.job for one in found.letters if judged[one.run_id] is Fate.WAITS}
    known, paused = await histories(store, candidates, own, now), await store.pauses.paused()
    found.plan = plan(found.letters, judged, known, lambda name: bool(paused & {name, None}), own, now)
    await _read_marks(store.ledger, found)
    if not dry_run:
        found.plan.fates.update(await replay(store, found.plan.replay, settings))
    found.groups = grouped(found.letters, found.plan.fates)
    proven = [name for name, history in known.items() if history.proven]
    found.news, marks = unraised(found.groups, found.marks, proven)
    found.marks = found.marks if dry_run else marks


async def _read(store: "Store", settings: Settings, own: DlqSettings, found: Findings) -> None:
    """Read the newest dead letters. Older ones are read once these are replayed or dropped."""
    import asyncio

    jobs = durable_jobs(settings.project)
    there = (await store.ledger.figures()).dead_letters
    try:
        async with asyncio.timeout(READ_SECONDS):
            newest = await store.dead_letters.newest(own.look_at)
    except TimeoutError:
        found.unseen.append(
            f"none of {there} dead letters was checked, because reading them took too long; lower look_at"
        )
        return
    found.letters = [letter_of(one, jobs) for one in newest]
    if len(newest) < there and len(newest) == own.look_at:
        found.unseen.append(f"checked only the {len(newest)} newest of {there} dead letters")


async def _read_marks(ledger: "Ledger", found: Findings) -> None:
    """Read what earlier runs reported from the last result in the ledger, so that every sidecar knows it."""
    from horae.store.values import Only

    runs = await ledger.runs(job=NAME, only=Only(states=frozenset({State.RAN})), limit=1)
    try:
        found.marks = {str(mark): int(at) for mark, at in runs[0].result["raised"].items()} if runs else {}
        found.untold = [str(mark) for mark in runs[0].result["untold"]] if runs else []
    except (TypeError, KeyError, ValueError, AttributeError):
        found.unseen.append("the result of the last run cannot be read, so this run may report the same again")


async def _raise(settings: Settings, found: Findings) -> None:
    for group in found.news:
        extra = {"action": "dead_letters_raised", "job": group.job, "letters": group.count}
        log.error("%s; `horae dead list` shows them", group.text, extra=extra)
    new = {group.mark for group in found.news}
    pending = [group for group in found.groups if group.mark in new | set(found.untold)]
    trouble = await _emit(settings, pending)
    found.untold = sorted({group.mark for group in pending}) if trouble else []
    found.unseen += [trouble] if trouble else []


async def _emit(settings: Settings, groups: Collection[Group]) -> str:
    """Return why Prefect did not accept the events; empty if it did, or if no Prefect is configured."""
    if not groups or settings.prefect.api_url is None:
        return ""
    import asyncio

    from horae.prefect.flow_runs import prefect_of

    try:
        async with asyncio.timeout(EMIT_SECONDS):
            async with prefect_of(settings) as api:
                await api.emit_events([group.event(settings.namespace) for group in groups])
    except TimeoutError:
        return f"{len(groups)} events wait for Prefect: no answer in {EMIT_SECONDS:g} s"
    except HoraeError as error:
        return f"{len(groups)} events wait for Prefect: {error.message}"
    return ""


def _summary(found: Findings, fates: Counter[Fate], *, dry_run: bool) -> str:
    """What could not be read comes first."""
    said: Sequence[str] = [*found.unseen]
    if found.plan.fates or not found.unseen:
        replayed = f"{fates[Fate.REPLAY]} replayed, {len(found.news)} groups reported"
        counted = f"{len(found.letters)} dead letters: {replayed}" if found.letters else "no dead letters"
        said = [*said, f"dry run, nothing changed; {counted}" if dry_run else counted]
    return "; ".join(said)
