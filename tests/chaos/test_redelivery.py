"""How soon others take over: the run of a killed worker, and the fires of a killed sidecar."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from chaos.front_door import front_door
from chaos.journal import Line, Reader
from chaos.workload import TICK, How, Workload, write
from horae.clock import monotonic
from tests.processes import services
from tests.waiting import wait_until

LEASE_SECONDS = 1.0
"""The least that settings allow."""
VICTIM = Workload(name="victim", seconds=8)
LONG = Workload(name="long", seconds=10 * LEASE_SECONDS)
CHILD = Workload(name="child", how=How.CHILD, seconds=10 * LEASE_SECONDS)
BLOCKS = Workload(name="blocks", how=How.BLOCKING, seconds=3 * LEASE_SECONDS)
BESIDE = (LONG, CHILD, BLOCKS)


class Seen:
    """The journal as it grows."""

    def __init__(self, project: Path) -> None:
        self._reader = Reader(project)

    def lines(self, what: str, *jobs: str) -> list[Line]:
        self._reader.fresh()
        return [line for line in self._reader.lines if line.what == what and line.job in jobs]

    def has(self, count: int, what: str, *jobs: str) -> Callable[[], bool]:
        return lambda: len(self.lines(what, *jobs)) >= count


@pytest.mark.requires("valkey")
async def test_a_killed_workers_run_moves_on_while_what_outlasts_its_lease_runs_once(
    project: Path, valkey_url: str, namespace: str
) -> None:
    write(project, VICTIM, *BESIDE)
    seen = Seen(project)
    lease = {"HORAE_WORKER__LEASE_SECONDS": str(LEASE_SECONDS)}
    with services(project, valkey_url, namespace, **lease) as running:
        doomed = running.start("queue_worker", HORAE_WORKER__SLOTS="1")
        async with front_door(project, valkey_url, namespace) as (scheduler, _):
            await scheduler.enqueue_workflow("victim")
            await wait_until(seen.has(1, "begin", "victim"), "the victim to begin")
            other = running.start("queue_worker", HORAE_WORKER__SLOTS="4")
            for job in BESIDE:  # the doomed worker has no free slot; the one that blocks the loop comes last
                await scheduler.enqueue_workflow(job.name)
                await wait_until(seen.has(1, "begin", job.name), f"{job.name} to begin")
            doomed.kill()
            killed_at = monotonic()
            await wait_until(seen.has(2, "begin", "victim"), "the victim to begin elsewhere", 15)
            assert monotonic() - killed_at < 10
            await wait_until(seen.has(4, "end", "victim", *(job.name for job in BESIDE)), "all to end", 30)
    begins = seen.lines("begin", *(job.name for job in BESIDE))
    assert Counter(line.job for line in begins) == {"long": 1, "child": 1, "blocks": 1}
    assert {line.worker for line in begins} == {other.name}
    assert [line.worker for line in seen.lines("begin", "victim")] == [doomed.name, other.name]
    assert {line.effect for line in seen.lines("end", "victim", *(job.name for job in BESIDE))} == {"done"}


@pytest.mark.requires("valkey")
async def test_fires_go_on_within_five_seconds_when_a_sidecar_is_killed(
    project: Path, valkey_url: str, namespace: str
) -> None:
    write(project, TICK)
    seen = Seen(project)
    with services(project, valkey_url, namespace) as running:
        running.start("queue_worker")
        sidecars = [running.start("sidecar"), running.start("sidecar")]
        await wait_until(seen.has(3, "begin", "tick"), "fires", 20)
        for number, sidecar in enumerate(sidecars):
            sidecar.kill()
            so_far = len(seen.lines("begin", "tick"))
            await wait_until(seen.has(so_far + 6, "begin", "tick"), "fires by the other", 20)
            if number == 0:
                running.start("sidecar")
    lines = seen.lines("begin", "tick")
    fires = sorted(datetime.fromisoformat(line.scheduled_for) for line in lines if line.scheduled_for)
    assert {after - before for before, after in pairwise(fires)} == {timedelta(seconds=1)}, "each there, and once"
    begins = sorted(line.at for line in lines)
    assert max(after - before for before, after in pairwise(begins)) < 5
