"""What the commands say of a provider that does not publish, and of move records, beside a real store."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from horae.cli.routes import PATIENCE
from horae.jobs.policies import Tier
from horae.runs import Cause
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import NewRun
from tests.contract.stores import Clock, steered_store

pytestmark = pytest.mark.requires("valkey")
JOB = """
from horae import job


@job(traits={"infrastructure"}, provider="nats")
def sent() -> None: ...
"""


def horae(project: Path, *words: str, **settings: str) -> tuple[int, str, str]:
    """Its exit status, stdout and stderr."""
    environment = {**os.environ, **settings}
    command = [sys.executable, "-m", "horae", *words]
    found = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    return found.returncode, found.stdout, found.stderr


async def test_runs_that_wait_and_moved_jobs_are_shown(project: Path, valkey_url: str, namespace: str) -> None:
    (project / "infra/sent.py").write_text(JOB)
    settings = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    store = RedisStore(valkey_url, namespace, StoreSettings())
    long_ago = Clock(await store.now() - PATIENCE - timedelta(seconds=1))
    then = steered_store(valkey_url, namespace, StoreSettings(), long_ago)
    run = NewRun(run_id="r1", job="sent", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider="nats")
    await then.outbox.accept([run])
    await then.close()

    async def said(*words: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(horae, project, *words, **settings)

    status, _, told = await said("jobs")
    assert status == 0
    assert "horae: provider nats: 1 run waits for its relay, the first for" in told
    status, out, _ = await said("check", "--json")
    assert status == 1
    [dropped] = [one["message"] for one in json.loads(out) if one["code"] == "HR713"]
    assert dropped.startswith("runs wait for nats (1 in the outbox, 0 at the broker): ")
    _, out, _ = await said("explain", "sent", "--json")
    found = json.loads(out)
    assert found["move"] is None
    assert found["providers"][0]["provider"] == "nats"
    assert "its runs wait: queue provider 'nats' is not configured" in found["providers"][0]["reasons"][0]
    await store.moves.move("redis", "sent")
    await store.close()
    _, out, _ = await said("explain", "sent", "--json")
    found = json.loads(out)
    assert found["move"]["provider"] == "redis"
    assert found["providers"][0]["provider"] == "redis"
    assert found["providers"][0]["reasons"][0].startswith("a move record of ")
