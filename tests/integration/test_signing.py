"""Signed messages on a real NATS: what a forger can send there, and what runs all the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from pydantic import SecretStr

from horae.jobs.policies import Tier
from horae.messages import Message
from horae.queues.opened import open_queues, signing_of
from horae.reasons import Reason
from horae.runs import Cause, Run, Verdict, new_run_id
from horae.settings import QueueSettings, Settings, StoreSettings, load
from horae.store import Store, connect
from horae.store.values import DeadLetter, NewRun
from tests.integration.test_durable_path import a_worker
from tests.integration.test_routes_shown import horae
from tests.waiting import wait_until

pytestmark = [pytest.mark.requires("valkey"), pytest.mark.requires("nats")]
JOB = """
from horae import job
@job(traits={"infrastructure"}, overlap="allow")
async def copy(*, what: str) -> dict[str, str]:
    return {"copied": what}
"""
OLD, NEW = "old-" * 8, "new-" * 8
LONG = timedelta(minutes=10)


@pytest.fixture
def keys(project: Path) -> Path:
    path = project / "keys"
    path.write_text(f"{OLD}\n")
    return path


@pytest.fixture
def settings(project: Path, keys: Path, valkey_url: str, nats_url: str, namespace: str) -> Settings:
    (project / "infra/copy.py").write_text(JOB)
    queue = {"provider": "nats", "nats": {"url": nats_url}, "signing_keys_file": "keys"}
    own = {
        "namespace": namespace,
        "store": StoreSettings(url=SecretStr(valkey_url)),
        "queue": QueueSettings.model_validate(queue),
    }
    return load(project).model_copy(update=own)


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with connect(settings) as opened:
        yield opened


def copy(what: str) -> Message:
    return Message(job="copy", run_id=new_run_id(), context={"what": what})


def signed(settings: Settings, message: Message) -> Message:
    signing = signing_of(settings)
    assert signing
    return signing.sign([message])[0]


def write(keys: Path, *lines: str) -> None:
    keys.write_text("".join(f"{line}\n" for line in lines))


@asynccontextmanager
async def a_stranger(settings: Settings) -> AsyncIterator[Any]:
    """A program that can publish to the broker, and has neither the store nor Horae's keys."""
    queues = open_queues(settings)
    await queues.router.check()  # the stream is there
    await queues.router.close()
    client = await nats.connect(settings.queue.tables["nats"]["url"])

    async def put(message: Message) -> None:
        await client.jetstream().publish(f"{settings.namespace}.queue.normal", message.encode(10_000))

    yield put
    await client.close()


async def ended(store: Store, run_id: str) -> Run:
    async def settled() -> Run | None:
        run = await store.ledger.run(run_id)
        return run if run and run.verdict else None

    run = await wait_until(settled, f"{run_id} to be settled", seconds=30)
    assert run
    return run


async def buried(store: Store, count: int) -> list[DeadLetter]:
    async def found() -> list[DeadLetter]:
        letters = await store.dead_letters.newest()
        return letters if len(letters) >= count else []

    return await wait_until(found, f"{count} dead letters", seconds=30)


async def test_a_forged_message_becomes_a_dead_letter_and_a_signed_one_runs(
    settings: Settings, store: Store, project: Path
) -> None:
    forged, wrong, genuine = copy("forged"), copy("wrong"), copy("genuine")
    async with a_stranger(settings) as put, a_worker(settings):
        await put(forged)
        await put(wrong.signed(signed(settings, copy("other")).signature or ""))
        await put(signed(settings, genuine))
        assert (await ended(store, genuine.run_id)).result == {"copied": "genuine"}
        letters = await buried(store, 2)
    assert {(one.reason, one.note, one.job) for one in letters} == {
        (Reason.UNVERIFIED, "it has no signature", "copy"),
        (Reason.UNVERIFIED, "its signature fits no valid key", "copy"),
    }
    assert [await store.ledger.run(one.run_id) for one in (forged, wrong)] == [None, None]
    known = {
        "HORAE_STORE__URL": settings.store.url.get_secret_value() if settings.store.url else "",
        "HORAE_NAMESPACE": settings.namespace,
    }
    status, out, _ = await asyncio.to_thread(horae, project, "dead", "list", "--json", **known)
    assert (status, {one["reason"] for one in json.loads(out)}) == (0, {"unverified"})
    _, out, _ = await asyncio.to_thread(horae, project, "dead", "show", letters[0].run_id, **known)
    assert "unverified" in out
    assert letters[0].note in " ".join(out.split())


async def test_keys_rotate_while_the_worker_runs(settings: Settings, store: Store, keys: Path) -> None:
    async with a_stranger(settings) as put, a_worker(settings):
        by_old, late = signed(settings, copy("by the old key")), signed(settings, copy("late"))
        write(keys, NEW, OLD)
        by_new = signed(settings, copy("by the new key"))
        for message in (by_old, by_new):
            await put(message)
            assert (await ended(store, message.run_id)).verdict is Verdict.RAN
        write(keys, NEW)
        await put(late)
        (letter,) = await buried(store, 1)
        assert (letter.reason, letter.note) == (Reason.UNVERIFIED, "its signature fits no valid key")
        fine = signed(settings, copy("still"))
        await put(fine)
        assert (await ended(store, fine.run_id)).verdict is Verdict.RAN


async def test_a_known_run_needs_no_signature_and_runs_as_the_store_has_it(settings: Settings, store: Store) -> None:
    new = NewRun(
        run_id=new_run_id(),
        job="copy",
        tier=Tier.ONEIRIC,
        cause=Cause.ENQUEUE,
        provider="nats",
        context={"what": "own"},
    )
    await store.outbox.accept([new], LONG)
    async with a_stranger(settings) as put, a_worker(settings):
        await put(new.message.model_copy(update={"context": {"what": "forged"}}))
        assert (await ended(store, new.run_id)).result == {"copied": "own"}
    assert await store.dead_letters.newest() == []


async def test_what_horae_published_runs_although_the_store_lost_its_row(settings: Settings, store: Store) -> None:
    message = copy("lost")
    queues = open_queues(settings)
    await queues.router.publish("nats", [message])
    await queues.router.close()
    async with a_worker(settings):
        assert (await ended(store, message.run_id)).result == {"copied": "lost"}


async def test_an_operator_can_replay_an_unverified_message(settings: Settings, store: Store, project: Path) -> None:
    async with a_stranger(settings) as put, a_worker(settings):
        await put(copy("vouched for"))
        (letter,) = await buried(store, 1)
        known = {
            "HORAE_STORE__URL": settings.store.url.get_secret_value() if settings.store.url else "",
            "HORAE_NAMESPACE": settings.namespace,
            "HORAE_QUEUE__PROVIDER": "nats",
            "HORAE_QUEUE__NATS__URL": settings.queue.tables["nats"]["url"],
            "HORAE_QUEUE__SIGNING_KEYS_FILE": "keys",
        }
        status, out, told = await asyncio.to_thread(
            horae, project, "dead", "replay", letter.run_id, "--yes", "--json", **known
        )
        assert status == 0, out + told

        async def ran() -> bool:
            runs = await store.ledger.runs(limit=10)
            return any(run.verdict is Verdict.RAN for run in runs)

        await wait_until(ran, "the replay to run", seconds=30)
