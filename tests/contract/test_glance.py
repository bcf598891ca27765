"""`glance` gives the same answers as the ledger, on a real Valkey."""

import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horae.clock import monotonic
from horae.errors import StoreUnavailable
from horae.jobs.policies import Tier
from horae.local.ports import free_port
from horae.local.valkey import command
from horae.reasons import Reason
from horae.runs import Cause, Failure, Run, State, fire_id
from horae.settings import StoreSettings
from horae.store.glance import Standing, durations, glance, routes
from horae.store.redis import RedisStore
from horae.store.values import NewRun, Routes
from tests.waiting import wait_for

T0 = datetime(2026, 11, 1, 2, tzinfo=UTC)
PASSWORD = "s3/cret:@"
QUOTED = "s3%2Fcret%3A%40"


def a_run(job: str, hour: int, state: State, **fields: object) -> Run:
    at = T0 + timedelta(hours=hour)
    ended = {"started_at": at, "ended_at": at + timedelta(seconds=3)} if state.settled else {"started_at": at}
    return Run(
        run_id=fire_id("glance", job, at),
        job=job,
        tier=Tier.PREFECT,
        cause=Cause.SCHEDULE,
        state=state,
        scheduled_for=at,
        **{**ended, **fields},  # type: ignore[arg-type]
    )


RUNS = (
    a_run("sweep", 0, State.RAN, result={"repos": 3}, attempts=1),
    a_run("sweep", 1, State.FAILED, reason=Reason.CRASHED, failure=Failure(type="OSError", message="dïsk full\n2")),
    a_run("sweep", 2, State.RUNNING),
    a_run("report", 0, State.SKIPPED, reason=Reason.OVERLAP),
)
NAMES = ("sweep", "report", "never-ran")


@pytest.mark.requires("valkey")
async def test_the_routes_equal_those_of_the_store(valkey_url: str, namespace: str) -> None:
    store = RedisStore(valkey_url, namespace, StoreSettings())
    try:
        assert routes(valkey_url, namespace) == Routes(runs=[], moves={})
        due = await store.now() + timedelta(hours=1)
        runs = [
            NewRun(run_id=f"r{place}", job="backup", tier=Tier.ONEIRIC, cause=Cause.ENQUEUE, provider=provider, due=due)
            for place, provider in enumerate(["nats", "nats", ""])
        ]
        await store.outbox.accept(runs)
        await store.moves.move("redis", "report")
        await store.moves.move("nats")
        wanted = Routes(runs=await store.outbox.by_provider(), moves=await store.moves.all())
        assert [(one.provider, one.outbox) for one in wanted.runs] == [("", 1), ("nats", 2)]
        assert routes(valkey_url, namespace) == wanted
        await store.outbox.published([runs[0].message])
        found = routes(valkey_url, namespace)
        assert found
        assert [(one.outbox, one.queued) for one in found.runs] == [(1, 0), (1, 1)]
    finally:
        await store.close()


@pytest.mark.requires("valkey")
async def test_a_glance_equals_the_ledger(valkey_url: str, namespace: str) -> None:
    store = RedisStore(valkey_url, namespace, StoreSettings())
    try:
        await store.ledger.record(RUNS)
        await store.pauses.pause("report")
        await store.pauses.pause()
        wanted = Standing(latest=await store.ledger.latest(NAMES), paused=frozenset({"report", None}))
    finally:
        await store.close()
    assert {name: wanted.latest[name].settled is not None for name in NAMES} == {
        "sweep": True,
        "report": True,
        "never-ran": False,
    }
    assert glance(valkey_url, namespace, NAMES) == wanted
    assert glance(valkey_url, namespace, ()) == Standing(latest={}, paused=wanted.paused)


@pytest.mark.requires("valkey")
def test_what_is_out_of_the_ordinary_is_left_to_the_ordinary_store(valkey_url: str, namespace: str) -> None:
    port = valkey_url.rpartition(":")[2]
    for url in (
        f"rediss://127.0.0.1:{port}",
        "unix:///tmp/valkey.sock",
        f"{valkey_url}?protocol=3",
        f"redis://user@127.0.0.1:{port}",
        f"redis://:a-password-where-none-is-set@127.0.0.1:{port}",
        f"redis://127.0.0.1:{port.partition('/')[0]}/9999",
    ):
        assert glance(url, namespace, NAMES) is None, url


def test_a_store_that_is_away_is_named_without_its_password() -> None:
    port = free_port()
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{port} does not answer") as caught:
        glance(f"redis://:secret@127.0.0.1:{port}/0", "horae", NAMES)
    assert "secret" not in caught.value.message


@pytest.fixture
def guarded_port(tmp_path: Path) -> Iterator[int]:
    """A Valkey that requires a password."""
    port = free_port()
    with (tmp_path / "valkey.log").open("wb") as log:
        server = subprocess.Popen([*command(tmp_path, port), "--requirepass", PASSWORD], stdout=log, stderr=log)
    try:
        wait_for(lambda: "Ready to accept" in (tmp_path / "valkey.log").read_text(), "Valkey")
        yield port
    finally:
        server.kill()
        server.wait()


@pytest.mark.requires("valkey")
async def test_password_and_database_come_from_the_url(guarded_port: int, namespace: str) -> None:
    url = f"redis://:{QUOTED}@127.0.0.1:{guarded_port}/3"
    store = RedisStore(url, namespace, StoreSettings())
    try:
        await store.ledger.record(RUNS)
        wanted = Standing(latest=await store.ledger.latest(NAMES), paused=frozenset())
    finally:
        await store.close()
    assert glance(url, namespace, NAMES) == wanted
    assert glance(f"redis://:{QUOTED}@127.0.0.1:{guarded_port}/0", namespace, NAMES) != wanted
    assert glance(f"redis://127.0.0.1:{guarded_port}/3", namespace, NAMES) is None


@pytest.mark.requires("valkey")
async def test_durations_are_those_of_the_latest_runs(valkey_url: str, namespace: str) -> None:
    store = RedisStore(valkey_url, namespace, StoreSettings())
    try:
        await store.ledger.record(RUNS)
    finally:
        await store.close()
    assert durations(valkey_url, namespace, NAMES) == {"sweep": [3.0, 3.0], "report": [3.0], "never-ran": []}


def test_durations_of_a_store_that_is_away_are_asked_for_within_a_second() -> None:
    began = monotonic()
    with pytest.raises(StoreUnavailable):
        durations(f"redis://127.0.0.1:{free_port()}/0", "t", NAMES)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        with pytest.raises(StoreUnavailable):
            durations(f"redis://127.0.0.1:{deaf.getsockname()[1]}/0", "t", NAMES)
    assert monotonic() - began < 1
