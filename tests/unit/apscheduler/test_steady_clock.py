"""Time goes on evenly however the host's clock is set, and what fell due in a gap is few."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import pytest

from horae.apscheduler.scheduler import MOST, following
from horae.apscheduler.steady_clock import SteadyClock
from horae.jobs.job import Job
from horae.jobs.policies import CatchUp, Tier
from horae.schedules.kinds import Schedule
from horae.schedules.making import cron, every

BEGIN = datetime(2026, 11, 26, 10, tzinfo=UTC)
DAY = timedelta(days=1)


class Host:
    """A host whose time passes, and whose clock is set, by hand."""

    def __init__(self) -> None:
        self.passed, self.shift = 0.0, timedelta(0)

    def wall(self) -> datetime:
        return BEGIN + timedelta(seconds=self.passed) + self.shift

    def clock(self, *, trusts_host: bool) -> SteadyClock:
        return SteadyClock(trusts_host=trusts_host, wall=self.wall, monotonic=lambda: self.passed)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_is_not_followed_until_it_is_adopted(step: timedelta) -> None:
    host = Host()
    clock = host.clock(trusts_host=False)
    host.shift, host.passed = step, 2
    assert clock.notice() == step
    assert (clock.now(), clock.ahead) == (BEGIN + timedelta(seconds=2), step)
    assert clock.notice() is None
    clock.adopt(host.wall())
    assert (clock.now(), clock.ahead) == (host.wall(), timedelta(0))


def test_where_nobody_else_knows_the_time_a_step_is_followed() -> None:
    host = Host()
    clock = host.clock(trusts_host=True)
    host.shift = -DAY
    assert clock.notice() == -DAY
    assert (clock.now(), clock.ahead) == (host.wall(), timedelta(0))


def test_small_corrections_are_followed() -> None:
    host = Host()
    clock = host.clock(trusts_host=False)
    for _ in range(100):
        host.passed += 1
        host.shift += timedelta(seconds=0.5)
        assert clock.notice() is None
    assert clock.now() == host.wall()


def job(schedule: Schedule, catch_up: CatchUp) -> Job:
    return Job(name="beat", tier=Tier.APSCHEDULER, schedule=schedule, catch_up=catch_up)


def walk(of: Job, after: datetime) -> Iterator[datetime]:
    at = of.next_fire(after)
    while at:
        yield at
        at = of.next_fire(at)


SCHEDULES = (every("30s"), cron("*/7 2,3 * * *", "Europe/Berlin"), cron("0 0 1 1 *"), cron("* 5 * * MON"))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize(("catch_up", "most"), [(CatchUp.LATEST, 1), (CatchUp.NONE, 1), (CatchUp.ALL, MOST)])
def test_of_a_long_gap_only_the_newest_fires_are_made(schedule: Schedule, catch_up: CatchUp, most: int) -> None:
    beat, until = job(schedule, catch_up), BEGIN + 40 * DAY + timedelta(seconds=1) + timedelta(seconds=1)
    due = list(takewhile(lambda at: at <= until, walk(beat, BEGIN)))
    made, at = [], BEGIN
    while (at := following(beat, at, until) or until) < until:
        made.append(at)
    assert made == due[-most:]


def test_without_a_gap_it_is_the_next_fire() -> None:
    beat = job(every("30s"), CatchUp.LATEST)
    assert following(beat, BEGIN, BEGIN) == BEGIN + timedelta(seconds=30)
