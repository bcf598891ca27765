"""A short seeded chaos run on each broker, whose restarts, pauses and cut connections are among the blows."""

from pathlib import Path

import pytest

from chaos.brokers import FORGETFUL, OPENERS
from chaos.driver import play
from chaos.host_clock import can_step
from chaos.plan import Blow, plan_of
from chaos.report import report_of

SEED = 3


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.requires(name)) for name in OPENERS])
@pytest.mark.requires("valkey")
@pytest.mark.timeout(300)
async def test_nothing_is_lost_and_only_what_was_hit_is_repeated(name: str, tmp_path: Path) -> None:
    plan = plan_of(seed=SEED, jobs=200, jobs_a_second=14, seconds_between_kills=0.8, clocks=can_step(), provider=name)
    report = report_of(plan, await play(plan, tmp_path))
    print(report)
    on_broker = {blow for blow in Blow if blow.on_broker} - ({Blow.RESTART_BROKER} if name == FORGETFUL else set())
    assert {strike.blow for strike in plan.strikes} >= on_broker, "the plan has every kind of blow on the broker"
    assert report.satisfied, str(report)
