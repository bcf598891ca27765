"""Fires of internal jobs that nobody saw end in the ledger as missed, once, and no others."""

from datetime import UTC, datetime, timedelta

from horae.apscheduler.absences import PATIENCE, Absences
from horae.jobs.job import Job
from horae.jobs.policies import Scope, Tier
from horae.project.registry import Registry
from horae.runs import Cause, Run, State, Verdict, fire_id
from horae.schedules.making import every
from horae.store.memory import MemoryStore

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Ledger:
    """A store whose clock is moved by hand, and the fires that a sidecar saw."""

    def __init__(self, scope: Scope = Scope.ONE) -> None:
        self.at = NOON
        self.store = MemoryStore(clock=lambda: self.at)
        self.job = Job(name="beat", tier=Tier.APSCHEDULER, schedule=every("1m"), scope=scope)
        registry = Registry()
        registry.add(self.job)
        self.duty = Absences(self.store, registry)

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
    await ledger.saw(0, 1, 5)
    ledger.at = NOON + 5 * MINUTE + PATIENCE
    assert await ledger.missed() == [2, 3, 4]
    assert await ledger.missed() == [2, 3, 4], "looked at again, nothing is written twice"


async def test_a_fire_may_be_on_its_way_for_a_minute() -> None:
    ledger = Ledger()
    await ledger.saw(0)
    ledger.at = NOON + MINUTE + PATIENCE - timedelta(milliseconds=1)
    assert await ledger.missed() == []
    ledger.at = NOON + MINUTE + PATIENCE
    assert await ledger.missed() == [1]


async def test_a_job_that_never_fired_missed_nothing() -> None:
    ledger = Ledger()
    ledger.at = NOON + 60 * MINUTE
    assert await ledger.missed() == []
    ledger.at = NOON + 61 * MINUTE
    await ledger.saw(60)
    assert await ledger.missed() == []


async def test_later_looks_go_on_where_the_last_one_ended() -> None:
    ledger = Ledger()
    await ledger.saw(0, 1)
    ledger.at = NOON + MINUTE + PATIENCE
    assert await ledger.missed() == []
    await ledger.saw(3)
    ledger.at = NOON + 3 * MINUTE + PATIENCE
    assert await ledger.missed() == [2]


async def test_of_what_runs_in_each_sidecar_the_last_few_are_kept() -> None:
    ledger = Ledger(Scope.EACH)
    await ledger.saw(0)
    ledger.at = NOON + 600 * MINUTE + PATIENCE
    assert await ledger.missed() == list(range(581, 601))
