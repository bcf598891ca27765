"""While the store is away, what needs none goes on, readiness says so, and what fell due is caught up afterwards."""

import json
import re
import urllib.error
import urllib.request
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.errors import StoreUnavailable
from horae.runs import Run
from horae.settings import StoreSettings, load
from horae.store import connect
from tests.processes import Service, services
from tests.servers import OwnValkey
from tests.waiting import wait_until

BEAT = '''
from horae import current_run, every, job

@job(schedule=every("1s"), scope="each")
async def beat() -> None:
    """Note that it ran."""
    with open(current_run().project / "beats", "a") as file:
        file.write(".")
'''
TICK = '''
from horae import every, job

@job(schedule=every("1s"), traits={"infrastructure"}, overlap="allow", idempotent=True)
async def tick() -> None:
    """Nothing."""
'''


def readiness(service: Service) -> dict[str, str]:
    """What it waits for."""
    address = re.search(r"http://[\d.]+:\d+", service.log.read_text())
    assert address
    try:
        with urllib.request.urlopen(f"{address[0]}/health/ready", timeout=5) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    waits: dict[str, str] = json.loads(body)["waits_for"]
    return waits


@pytest.mark.requires("valkey")
async def test_what_needs_no_store_goes_on_and_durable_fires_are_caught_up(
    project: Path, tmp_path: Path, namespace: str
) -> None:
    (project / "internal" / "beat.py").write_text(BEAT)
    (project / "infra" / "tick.py").write_text(TICK)
    valkey = OwnValkey(tmp_path)
    valkey.start()
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey.url))}
    )

    def beats() -> int:
        path = project / "beats"
        return len(path.read_text()) if path.exists() else 0

    with services(project, valkey.url, namespace) as running:
        try:
            sidecar, worker = running.start("sidecar"), running.start("queue_worker")
            async with connect(settings) as store:

                async def ticks() -> list[Run]:
                    try:
                        return await store.ledger.runs(job="tick", limit=1000)
                    except StoreUnavailable:
                        return []

                async def some(count: int) -> list[Run]:
                    runs = [run for run in await ticks() if run.verdict]
                    return runs if len(runs) >= count else []

                await wait_until(lambda: some(2), "the first fires", seconds=20)
                valkey.kill()
                before = beats()
                await wait_until(lambda: beats() >= before + 4, "internal fires without the store", seconds=20)
                assert {"dispatcher", "relay redis", "sweeper"} <= set(readiness(sidecar))
                assert readiness(worker)
                valkey.start()
                await wait_until(lambda: not readiness(sidecar) and not readiness(worker), "readiness", seconds=20)
                seen = len(await ticks())
                runs = await wait_until(lambda: some(seen + 2), "fires to go on", seconds=20)
                noted = await store.ledger.runs(job="beat", limit=1000)
        finally:
            valkey.kill()
    assert runs
    assert steps(runs) == {timedelta(seconds=1)}, "every fire is there once, those of the outage too"
    assert steps(noted) == {timedelta(seconds=1)}, "what ran without the store was noted when it was back"


def steps(runs: list[Run]) -> set[timedelta]:
    due = sorted(run.scheduled_for for run in runs if run.scheduled_for)
    return {later - earlier for earlier, later in pairwise(due)}
