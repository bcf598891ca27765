"""`horae move` beside a real store: the preview, the record, what waits, and what the commands refuse."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from horae.jobs.policies import Tier
from horae.runs import Cause
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import NewRun
from tests.integration.test_routes_shown import JOB, horae

pytestmark = pytest.mark.requires("valkey")


@pytest.fixture
async def store(valkey_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    opened = RedisStore(valkey_url, namespace, StoreSettings())
    yield opened
    await opened.close()


@pytest.fixture
def settings(project: Path, valkey_url: str, namespace: str) -> dict[str, str]:
    (project / "infra/sent.py").write_text(JOB)
    (project / "infra/ordered.py").write_text(
        JOB.replace('provider="nats"', 'needs=["ordering"]').replace("sent", "ordered")
    )
    (project / "infra/kept.py").write_text(JOB.replace(', provider="nats"', "").replace("sent", "kept"))
    return {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}


def new(run_id: str, **fields: Any) -> NewRun:
    return NewRun(run_id=run_id, job="sent", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider="nats", **fields)


async def waiting(store: RedisStore) -> dict[str, tuple[int, int]]:
    return {one.provider: (one.outbox, one.queued) for one in await store.outbox.by_provider()}


async def test_runs_that_wait_move_and_those_at_the_broker_stay(
    project: Path, store: RedisStore, settings: dict[str, str]
) -> None:
    queued, pinned = new("queued"), new("pinned", pinned=True)
    await store.outbox.accept([queued, pinned, new("r1"), new("r2")])
    await store.outbox.published([queued.message])

    async def said(*words: str) -> tuple[int, Any]:
        status, out, told = await asyncio.to_thread(horae, project, "move", *words, "--json", **settings)
        assert told == ""
        return status, json.loads(out)

    status, found = await said("sent", "--to", "redis", "--preview")
    assert status == 0
    assert found == {
        "job": "sent", "provider": "redis", "record": True, "done": False, "outbox": 3, "queued": 1, "moved_by_name": {}
    }  # fmt: skip
    assert await store.moves.all() == {}
    status, found = await said("sent", "--to", "redis", "--yes")
    assert (status, found["done"], found["outbox"], found["queued"]) == (0, True, 2, 1)
    assert await waiting(store) == {"nats": (1, 1), "redis": (2, 0)}
    assert {job: move.provider for job, move in (await store.moves.all()).items()} == {"sent": "redis"}
    _, out, _ = await asyncio.to_thread(horae, project, "check", "--json", **settings)
    assert {"HR713", "HR714"} <= {one["code"] for one in json.loads(out)}
    _, found = await said("--all", "--to", "redis", "--preview")
    assert (found["job"], found["record"], found["moved_by_name"]) == (None, True, {"sent": "redis"})
    _, found = await said("kept", "--to", "redis", "--yes")
    assert found["record"] is False, "its code says so already"
    status, _, _ = await asyncio.to_thread(horae, project, "enqueue", "sent", **settings)
    assert status == 0, "its own provider has no settings, and the record sends it to one that has"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("sent", "--to", "nats", "--yes"), "queue provider 'nats' is not configured: give url in [queue.nats]"),
        (("sent", "--to", "radis", "--yes"), "unknown queue provider 'radis', did you mean 'redis'?"),
        (("snet", "--to", "redis", "--yes"), "unknown job 'snet', did you mean 'sent'?"),
        (("--to", "redis", "--yes"), "no job selected: give the name of a job, or --all"),
        (("sent", "--to", "redis"), "there is no terminal to ask on; add --yes or --preview"),
    ],
)
def test_wrong_use_changes_nothing_and_says_why(
    project: Path, settings: dict[str, str], words: tuple[str, ...], sentence: str
) -> None:
    status, _, told = horae(project, "move", *words, **settings)
    assert status == 2
    assert sentence in told


@pytest.mark.parametrize("words", [("ordered",), ("--all",)])
def test_a_provider_that_lacks_what_a_job_needs_is_refused(
    project: Path, settings: dict[str, str], words: tuple[str, ...]
) -> None:
    kafka = {"HORAE_QUEUE__KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    status, _, told = horae(project, "move", *words, "--to", "kafka", "--yes", **settings, **kafka)
    assert status == 2
    assert "ordered needs ordering, which the provider kafka does not offer" in told
