"""A worker that is told to stop while the store is away is gone within its grace and a little more."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from horae.scheduler.scheduler import Scheduler
from horae.settings import StoreSettings, load
from horae.store import connect
from tests.processes import services
from tests.servers import OwnValkey
from tests.waiting import wait_until

GRACE_SECONDS = 2.0
MORE_SECONDS = 7.0
"""Beyond the grace: 4 s in which the store may come back, 1 s for the last words to each side of the brokers."""
JOBS = '''
import asyncio, time
from datetime import timedelta
from horae import job

@job(traits={"infrastructure"}, overlap="allow", idempotent=True)
async def waits(*, seconds: float) -> None:
    """On the event loop."""
    print("begun")
    await asyncio.sleep(seconds)
'''
BLOCKS = JOBS.replace("async def waits", "def blocks").replace("await asyncio.sleep", "time.sleep")


@pytest.mark.requires("valkey")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["killed", "paused"])
@pytest.mark.parametrize("kind", ["queue_worker", "sidecar"])
async def test_a_process_ends_in_time_while_the_store_is_away(
    project: Path, tmp_path: Path, namespace: str, how: str, kind: str
) -> None:
    (project / "infra" / "waits.py").write_text(JOBS)
    (project / "infra" / "blocks.py").write_text(BLOCKS)
    valkey = OwnValkey(tmp_path)
    valkey.start()
    settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(valkey.url))}
    )
    grace = str(GRACE_SECONDS)
    with services(
        project, valkey.url, namespace, HORAE_WORKER__GRACE_SECONDS=grace, HORAE_SIDECAR__GRACE_SECONDS=grace
    ) as running:
        try:
            service = running.start(kind)
            if kind == "queue_worker":
                async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
                    asked = [
                        (await scheduler.enqueue(job, {"seconds": seconds})).run_id
                        for job in ("waits", "blocks")
                        for seconds in (GRACE_SECONDS, 60.0)
                    ]
                    for run_id in asked:
                        await wait_until(lambda run_id=run_id: store.ledger.log(run_id), "the jobs to begin", 30)  # type: ignore[misc]
            if how == "killed":
                valkey.kill()
            else:
                assert valkey._process
                os.kill(valkey._process.pid, signal.SIGSTOP)
            began = time.monotonic()
            service.process.send_signal(signal.SIGTERM)
            try:
                service.process.wait(60)
            except subprocess.TimeoutExpired:
                pytest.fail("it does not end at all")
            took = time.monotonic() - began
            print(f"{kind}, store {how}: gone {took:.1f} s after SIGTERM, with a grace of {GRACE_SECONDS:g} s")
            assert took < GRACE_SECONDS + MORE_SECONDS, service.log.read_text()
        finally:
            valkey.kill()  # SIGKILL ends a stopped process too
