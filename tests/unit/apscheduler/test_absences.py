"""Fires of internal jobs that nobody saw end in the ledger as missed, once, and no others."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from horae.apscheduler.absences import PATIENCE, Absences
from horae.jobs.job import Job
from horae.jobs.policies import Scope, Tier
from horae.project.registry import Registry
from horae.runs import Cause, Run, State, Verdict, fire_id
from horae.schedules.making import every
from tests.model import ModelStore

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Ledger:
    """A store whose clock is moved by hand, and the fires that a sidecar saw."""

    def __init__(self, scope: Scope = Scope.ONE) -> None:
        self.at = NOON
        self.store = ModelStore(clock=lambda: self.at)
        self.job = Job(name="beat", tier=Tier.APSCHEDULER, schedule=every("1m"), scope=scope)
        registry = Registry()
        registry.add(self.job)
        self.duty = Absences(self.store, registry, revision=1)

    async def first_sight(self) -> None:
        """A sidecar starts. It lets the jobs fire before it looks."""
        assert await self.duty.step() == PATIENCE.total_seconds()

    async def saw(self, *minutes: int) -> None:
        for minute in minutes:
            at = NOON + minute * MINUTE
            row = Run(
                run_id=fire_id("s1", "beat", at),
                job="beat",
                tier=Tier.APSCHEDULER,
                cause=Cause.SCHEDULE,
                state=State.RAN,
                scheduled_for=at,
            )
            await self.store.ledger.record([row])

    async def missed(self) -> list[int]:
        """The minutes of the fires that are told as missed, oldest first."""
        await self.duty.step()
        runs = [run for run in await self.store.ledger.runs(limit=2000) if run.verdict is Verdict.MISSED]
        assert {run.reason for run in runs} <= {"no sidecar"}
        return sorted((run.scheduled_for - NOON) // MINUTE for run in runs if run.scheduled_for)


async def test_what_fell_due_between_two_sidecars_was_missed() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    await ledger.saw(0, 1, 5)
    ledger.at = NOON + 5 * MINUTE + PATIENCE
    assert await ledger.missed() == [2, 3, 4]
    assert await ledger.missed() == [2, 3, 4], "looked at again, nothing is written twice"


async def test_a_fire_may_be_on_its_way_for_a_minute() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    await ledger.saw(0)
    ledger.at = NOON + MINUTE + PATIENCE - timedelta(milliseconds=1)
    assert await ledger.missed() == []
    ledger.at = NOON + MINUTE + PATIENCE
    assert await ledger.missed() == [1]


async def test_what_fell_due_while_nobody_was_there_was_missed_all_of_it() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    ledger.at = NOON + 3 * MINUTE + PATIENCE
    assert await ledger.missed() == [1, 2, 3]


async def test_a_job_missed_nothing_before_it_was_first_seen() -> None:
    """However long ago this sidecar began: the job is new, or its schedule was edited."""
    ledger = Ledger()
    await ledger.first_sight()
    ledger.at = NOON + 30 * MINUTE + PATIENCE
    edited = Registry()
    edited.add(replace(ledger.job, schedule=every("10s")))
    ledger.duty = Absences(ledger.store, edited, revision=2)
    await ledger.first_sight()
    assert await ledger.missed() == []
    ledger.at += MINUTE
    assert len(await ledger.missed()) == 0
    ledger.at += timedelta(seconds=10)
    assert len(await ledger.missed()) == 1


async def test_an_older_revision_accounts_for_nothing() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    older = Registry()
    older.add(replace(ledger.job, schedule=every("10s")))
    ledger.duty = Absences(ledger.store, older, revision=0)
    await ledger.first_sight()
    ledger.at = NOON + 3 * MINUTE + PATIENCE
    assert await ledger.missed() == []


async def test_a_fire_that_is_told_late_is_not_the_last_verdict() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    await ledger.saw(5)
    ledger.at = NOON + 5 * MINUTE + PATIENCE
    assert await ledger.missed() == [1, 2, 3, 4]
    latest = (await ledger.store.ledger.latest(["beat"]))["beat"]
    assert latest.settled
    assert latest.settled.verdict is Verdict.RAN


async def test_later_looks_go_on_where_the_last_one_ended() -> None:
    ledger = Ledger()
    await ledger.first_sight()
    await ledger.saw(0, 1)
    ledger.at = NOON + MINUTE + PATIENCE
    assert await ledger.missed() == []
    await ledger.saw(3)
    ledger.at = NOON + 3 * MINUTE + PATIENCE
    assert await ledger.missed() == [2]


async def test_of_what_runs_in_each_sidecar_the_last_few_are_kept() -> None:
    ledger = Ledger(Scope.EACH)
    await ledger.first_sight()
    await ledger.saw(0)
    ledger.at = NOON + 600 * MINUTE + PATIENCE
    assert await ledger.missed() == list(range(581, 601))
