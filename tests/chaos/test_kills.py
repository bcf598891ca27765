"""`kill -9` of every process of the durable path: nothing is lost, extra runs only where a worker died."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from chaos.front_door import front_door
from chaos.journal import Line, Reader
from chaos.workload import How, Workload, write
from horae.clock import monotonic
from horae.errors import StoreUnavailable
from horae.runs import Run, State, Verdict
from horae.store import Store
from tests.processes import Services, services
from tests.servers import OwnValkey
from tests.waiting import wait_until

SLOW = Workload(name="slow", how=How.CHILD)
TICKS = Workload(name="ticks", how=How.CHILD, schedule='every("1s")', period_seconds=1)


def settled(store: Store, id: str) -> Callable[[], Awaitable[Run | None]]:
    async def look() -> Run | None:
        try:
            run = await store.ledger.run(id)
        except StoreUnavailable:
            return None
        return run if run and run.verdict else None

    return look


def refused(log: Path) -> bool:
    """Whether a worker was told that its claim is stale, at its renewal or at its settling."""
    text = log.read_text()
    return "settlement_refused" in text or "lease lost" in text


def seen(project: Path, what: str) -> list[Line]:
    """Those lines of the journal."""
    return [line for line in Reader(project).fresh() if line.what == what]


def begun(project: Path, times: int) -> Callable[[], bool]:
    return lambda: len(seen(project, "begin")) >= times


@pytest.fixture
def running(project: Path, valkey_url: str, namespace: str) -> Iterator[Services]:
    write(project, SLOW)
    with services(project, valkey_url, namespace) as found:
        yield found


async def test_a_killed_workers_run_is_running_elsewhere_within_ten_seconds(
    running: Services, project: Path, valkey_url: str, namespace: str
) -> None:
    workers = [running.start("queue_worker"), running.start("queue_worker")]
    async with front_door(project, valkey_url, namespace) as (scheduler, store):
        accepted = await scheduler.enqueue_workflow("slow", context={"seconds": 4})
        await wait_until(begun(project, 1), "the run to begin")
        run = await store.ledger.run(accepted.run_id)
        assert run
        holder = next(worker for worker in workers if run.worker.endswith(f":{worker.pid}"))
        holder.kill()
        killed_at = monotonic()
        await wait_until(begun(project, 2), "the other worker to begin it", seconds=15)
        assert monotonic() - killed_at < 10
        ended = await wait_until(settled(store, accepted.run_id), "its verdict", seconds=20)
    assert ended
    assert (ended.verdict, ended.attempts) == (Verdict.RAN, 2)
    assert len(seen(project, "end")) == 1, "the child of the killed worker died with it"
    first, second = (line.token for line in seen(project, "begin"))
    assert first < second, "the fencing token grows"


async def test_a_worker_paused_longer_than_its_lease_settles_nothing(
    running: Services, project: Path, valkey_url: str, namespace: str
) -> None:
    paused = running.start("queue_worker")
    async with front_door(project, valkey_url, namespace) as (scheduler, store):
        accepted = await scheduler.enqueue_workflow("slow", context={"seconds": 1})
        await wait_until(begun(project, 1), "the run to begin")
        paused.hold()
        running.start("queue_worker")
        ended = await wait_until(settled(store, accepted.run_id), "the other worker to end it", seconds=20)
        paused.let_go()
        await wait_until(lambda: refused(paused.log), "the paused worker to be told")
        after = await store.ledger.run(accepted.run_id)
    assert ended
    assert after
    assert after.worker == ended.worker
    assert not ended.worker.endswith(f":{paused.pid}")


async def test_a_terminated_worker_hands_back_what_it_cannot_finish(
    running: Services, project: Path, valkey_url: str, namespace: str
) -> None:
    first = running.start("queue_worker", HORAE_WORKER__GRACE_SECONDS="0.5")
    async with front_door(project, valkey_url, namespace) as (scheduler, store):
        accepted = await scheduler.enqueue_workflow("slow", context={"seconds": 3})
        await wait_until(begun(project, 1), "the run to begin")
        assert first.terminate() == 0
        run = await store.ledger.run(accepted.run_id)
        assert run
        assert run.state in (State.PENDING, State.QUEUED)
        running.start("queue_worker")
        ended = await wait_until(settled(store, accepted.run_id), "the next worker to end it", seconds=20)
    assert ended
    assert ended.verdict is Verdict.RAN


async def test_every_fire_is_written_once_while_sidecars_are_killed(
    project: Path, valkey_url: str, namespace: str
) -> None:
    write(project, TICKS)
    with services(project, valkey_url, namespace) as running:
        running.start("queue_worker")
        sidecars = [running.start("sidecar"), running.start("sidecar")]
        async with front_door(project, valkey_url, namespace) as (_, store):

            async def fired(times: int) -> bool:
                runs = await store.ledger.runs(job="ticks", limit=1000)
                return sum(run.verdict is Verdict.RAN for run in runs) >= times

            await wait_until(lambda: fired(3), "three fires", seconds=20)
            sidecars[0].kill()
            await wait_until(lambda: fired(6), "fires from the other sidecar", seconds=20)
            sidecars[1].kill()
            running.start("sidecar")
            await wait_until(lambda: fired(12), "fires after both were killed", seconds=30)
            runs = [run for run in await store.ledger.runs(job="ticks", limit=1000) if run.scheduled_for]
    instants = sorted(run.scheduled_for for run in runs if run.scheduled_for)
    gaps = {after - before for before, after in pairwise(instants)}
    assert gaps == {timedelta(seconds=1)}, "every fire is there, each once"
    begins = [line.run_id for line in seen(project, "begin")]
    assert len(begins) == len(set(begins)), "no worker died, so nothing ran twice"


async def test_a_killed_store_loses_nothing_accepted(project: Path, tmp_path: Path, namespace: str) -> None:
    write(project, SLOW)
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = OwnValkey(folder)
    valkey.start()
    try:
        with services(project, valkey.url, namespace) as running:
            running.start("queue_worker")
            async with front_door(project, valkey.url, namespace) as (scheduler, store):
                during = await scheduler.enqueue_workflow("slow", context={"seconds": 4})
                later = [await scheduler.enqueue_workflow("slow") for _ in range(3)]
                await wait_until(begun(project, 1), "a run to begin")
                # Append-only with everysec may forget the last second: let it reach the file first.
                await wait_until(lambda: aof_synced(folder), "the append-only file to be written")
                valkey.kill()
                valkey.start()
                for accepted in (during, *later):
                    ended = await wait_until(settled(store, accepted.run_id), "every verdict", seconds=30)
                    assert ended
                    assert ended.verdict is Verdict.RAN
    finally:
        valkey.kill()


_written: dict[Path, tuple[int, float]] = {}


def aof_synced(folder: Path) -> bool:
    """Whether the append-only file has not grown for more than a second."""
    size = sum(path.stat().st_size for path in folder.rglob("*.aof"))
    before, since = _written.get(folder, (-1, monotonic()))
    if size != before:
        _written[folder] = (size, monotonic())
        return False
    return monotonic() - since > 1.2
