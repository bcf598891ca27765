"""The snapshot of where the jobs stand: written whole, read or left, and never of another store."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from horae import Cause, Run, RunContext, State, Tier
from horae.jobs.context import running
from horae.reasons import Reason
from horae.runs import Failure
from horae.store.glance import Standing
from horae.store.snapshot import FILE, Snapshot, read
from horae.store.values import Latest
from internal.cache_warming import cache_warming

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
STORE = "redis://10.0.0.5:6379/0"
RAN = Run(
    run_id="r1",
    job="backup",
    tier=Tier.ONEIRIC,
    cause=Cause.SCHEDULE,
    state=State.RAN,
    scheduled_for=NOON,
    started_at=NOON,
    ended_at=NOON,
    progress="2 backed up",
)
FAILED = Run(
    run_id="r2",
    job="backup",
    tier=Tier.ONEIRIC,
    cause=Cause.ENQUEUE,
    state=State.FAILED,
    reason=Reason.RAISED,
    failure=Failure(type="OSError", message="disk full"),
)
STANDING = Standing(
    latest={"backup": Latest(newest=FAILED, settled=RAN), "new": Latest(newest=None, settled=None)},
    paused=frozenset({"backup", None}),
)
SNAPSHOT = Snapshot(at=NOON, store=STORE, namespace="horae", standing=STANDING)


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    state = tmp_path / ".horae"
    SNAPSHOT.write(state)
    assert read(state, "horae") == SNAPSHOT
    assert read(state, "horae", STORE) == SNAPSHOT
    assert stat.S_IMODE((state / FILE).stat().st_mode) == 0o600
    assert [path.name for path in state.iterdir()] == [FILE]


def test_a_snapshot_of_another_store_or_namespace_is_none(tmp_path: Path) -> None:
    SNAPSHOT.write(tmp_path)
    assert read(tmp_path, "other") is None
    assert read(tmp_path, "horae", "redis://10.0.0.6:6379/0") is None


@pytest.mark.parametrize("part", [0, 1, 100, -1])
def test_a_half_written_snapshot_is_none(tmp_path: Path, part: int) -> None:
    SNAPSHOT.write(tmp_path)
    whole = (tmp_path / FILE).read_text()
    (tmp_path / FILE).write_text(whole[:part])
    assert read(tmp_path, "horae") is None


@pytest.mark.parametrize("text", ["[]", "{}", '{"at": 1}', "null", '{"runs": {"a": {}}}'])
def test_what_is_no_snapshot_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert read(tmp_path, "horae") is None


def test_long_texts_are_cut_and_a_payload_is_not_kept(tmp_path: Path) -> None:
    run = Run(
        run_id="r1",
        job="backup",
        tier=Tier.ONEIRIC,
        cause=Cause.ENQUEUE,
        state=State.RUNNING,
        progress="x" * 10_000,
        context={"password": "s3cret"},
        result="s3cret",
    )
    latest = {"backup": Latest(newest=run, settled=None)}
    standing = Standing(latest=latest, paused=frozenset())
    Snapshot(at=NOON, store=STORE, namespace="horae", standing=standing).write(tmp_path)
    text = (tmp_path / FILE).read_text()
    assert len(text) < 1000
    assert "s3cret" not in text
    assert json.loads(text)["runs"]["r1"]["state"] == "running"


async def test_without_a_store_it_looked_at_nothing(project: Path) -> None:
    told: list[str] = []
    with running(RunContext(job="cache-warming", run_id="r", project=project, report=told.append)):
        result = await cache_warming()
    assert result == {"ok": None, "jobs": 0, "file": None}
    assert told[0].startswith("the jobs were not read: no state store is configured")
