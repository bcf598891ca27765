"""A short chaos run whose processes are containers: `scripts/containers start`, `base` and `build`, then DOCKER_HOST.

CI has no engine, so this is skipped there too.
"""

from pathlib import Path

import pytest

from chaos.containers import Image, checked
from chaos.driver import play
from chaos.host_clock import can_step
from chaos.plan import Blow, plan_of
from chaos.report import report_of
from horae.errors import UsageError
from tests.requirements import images_absent


@pytest.mark.requires("valkey")
@pytest.mark.skipif(bool(images_absent("horae")), reason=images_absent("horae"))
@pytest.mark.timeout(300)
async def test_killed_and_restarted_containers_lose_nothing(tmp_path: Path) -> None:
    plan = plan_of(seed=5, jobs=500, jobs_a_second=14, seconds_between_kills=1.6, clocks=can_step())
    report = report_of(plan, await play(plan, tmp_path, home=Image(name="horae")))
    print(report)
    blows = {strike.blow for strike in plan.strikes}
    assert blows >= {Blow.KILL_WORKER, Blow.KILL_SIDECAR, Blow.STOP_WORKER, Blow.STOP_SIDECAR}
    assert report.satisfied, str(report)


def test_an_absent_image_is_named_with_the_remedy() -> None:
    with pytest.raises(UsageError, match=r"--image nothing/here: .*scripts/containers"):
        checked(["nothing/here"])
