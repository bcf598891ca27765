"""`horae check` beside a store: what the ledger knows is said, and a store that is away is not waited for."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horae.jobs.policies import Tier
from horae.local.ports import free_port
from horae.runs import Cause, Run, State, fire_id
from horae.settings import StoreSettings
from horae.store.redis import RedisStore

T0 = datetime(2026, 11, 1, 2, tzinfo=UTC)
SCAN = """
from horae import every, job


@job(schedule=every("1m"), traits=["infrastructure"], idempotent=True)
def scan() -> None:
    ...
"""


def checked(project: Path, **settings: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-m", "horae", "check", "--json"],
        cwd=project,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, ""), found.stderr
    return [finding["code"] for finding in json.loads(found.stdout)]


@pytest.mark.requires("valkey")
async def test_a_job_that_outgrew_its_schedule_is_found(project: Path, valkey_url: str, namespace: str) -> None:
    (project / "infra/scan.py").write_text(SCAN)
    settings = {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    assert checked(project, **settings) == []
    fires = [T0 + timedelta(minutes=minute) for minute in range(10)]
    runs = [
        Run(
            run_id=fire_id(namespace, "scan", at),
            job="scan",
            tier=Tier.ONEIRIC,
            cause=Cause.SCHEDULE,
            state=State.RAN,
            scheduled_for=at,
            started_at=at,
            ended_at=at + timedelta(seconds=61),
        )
        for at in fires
    ]
    store = RedisStore(valkey_url, namespace, StoreSettings())
    await store.ledger.record(runs)
    await store.close()
    assert checked(project, **settings) == ["HR709"]


def test_a_store_that_is_away_is_passed_over_in_silence(project: Path) -> None:
    (project / "infra/scan.py").write_text(SCAN)
    assert checked(project, HORAE_STORE__URL=f"redis://127.0.0.1:{free_port()}/0") == []
