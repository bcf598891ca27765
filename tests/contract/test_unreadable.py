"""Rows, notices and letters that Horae cannot read are shown and can be dropped, and do not affect others."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import redis

from horae.errors import StoreError
from horae.jobs.policies import Overlap
from horae.messages import FIRST_GENERATIONS, GENERATIONS, KEPT_BYTES, Message
from horae.reasons import Reason
from horae.runs import State, Verdict
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.cursors import Declared, Watched
from horae.store.glance import glance
from horae.store.redis import RedisStore
from horae.store.values import Answer, Happening, Policy, Wanted
from tests.contract.stores import (
    NONE,
    PROVIDERS,
    claim,
    new,
    run_through,
    send,
    settle,
    state,
    taken,
)

pytestmark = pytest.mark.requires("valkey")

type Raw = "redis.Redis"

ALLOW = Policy(overlap=Overlap.ALLOW)

BAD = {
    "message": {"message": "{"},
    "message is a list": {"message": "[]"},
    "message is another's": {"message": '{"job":"backup","run":"x"}'},
    "message is null": {"message": "null"},
    "attempt": {"attempt": "one", "generation": "one"},
    "attempt of the end": {"attempt": str(GENERATIONS + 1), "generation": str(GENERATIONS + 1)},
    "no utf-8": {"message": b"\xff\xfe"},
}
"""Fields that each make a row unfit to be handed out."""
ODD = {
    "scheduled_for": "253402350000000",
    "accepted_at": "soon",
    "ended_at": "-9999999999999999",
    "attempts": "many",
    "tier": "cloud",
    "cause": "why",
    "state": "well",
    "result": "{",
    "failure": "[]",
    "story": "a line that is none",
    "message": '{"context": 3}',
}
"""Fields that each make a row unreadable."""


@pytest.fixture(params=["", "redis"], ids=["relay", "carried"])
async def opened(request: pytest.FixtureRequest, valkey_url: str, namespace: str) -> AsyncIterator[RedisStore]:
    store = RedisStore(valkey_url, namespace, StoreSettings(), request.param)
    yield store
    await store.close()


@pytest.fixture
def raw(valkey_url: str) -> Iterator[Raw]:
    with redis.Redis.from_url(valkey_url) as client:
        yield client


def key(store: Store, name: str) -> str:
    return f"{{{store.namespace}}}:{name}"


class TestOutbox:
    @pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
    async def test_a_bad_row_is_set_aside_and_the_others_go(
        self, opened: RedisStore, raw: Raw, bad: dict[str, str]
    ) -> None:
        provider = "nats"
        first, broken, last = new(provider=provider), new(provider=provider), new(provider=provider)
        await opened.outbox.accept([first, broken, last])
        raw.hset(key(opened, f"run:{broken.run_id}"), mapping=bad)  # type: ignore[arg-type]
        assert [one.run_id for one in await taken(opened)] == [first.run_id, last.run_id]
        assert raw.zscore(key(opened, "outbox"), broken.run_id) is None
        assert (await state(opened, broken.run_id)).verdict is Verdict.FAILED
        [letter] = await opened.dead_letters.newest()
        assert letter.run_id == broken.run_id
        assert await opened.dead_letters.drop([letter.run_id]) == 1
        assert await opened.dead_letters.newest() == []

    @pytest.mark.parametrize("bad", [BAD["message"], BAD["message is a list"], BAD["attempt"]])
    async def test_also_where_the_server_carries_the_messages_itself(
        self, opened: RedisStore, raw: Raw, bad: dict[str, str]
    ) -> None:
        later = await opened.now() + timedelta(hours=1)
        broken, sound = new(provider="redis", due=later), new(provider="redis", due=later)
        await opened.outbox.accept([broken, sound])
        raw.hset(key(opened, f"run:{broken.run_id}"), mapping=bad)  # type: ignore[arg-type]
        for one in (broken, sound):
            raw.zadd(key(opened, "outbox"), {one.run_id: 1})
            raw.zadd(key(opened, "outbox:redis"), {one.run_id: 1})
        found = await opened.outbox.take(PROVIDERS, 10, NONE)
        assert len(found.entries) + found.published == 1
        assert (await state(opened, broken.run_id)).verdict is Verdict.FAILED

    async def test_what_was_granted_before_a_bad_row_has_a_lease(self, opened: RedisStore, raw: Raw) -> None:
        first, broken, last = new(provider="nats"), new(provider="nats"), new(provider="nats")
        await opened.outbox.accept([first, broken, last])
        await taken(opened)
        raw.hset(key(opened, f"run:{broken.run_id}"), "accepted_at", "soon")
        wanted = [Wanted(message=one.message, policy=ALLOW) for one in (first, broken, last)]
        with pytest.raises(StoreError):
            await opened.claims.claim(wanted, "w1", timedelta(seconds=5))
        assert (await state(opened, first.run_id)).state is State.RUNNING
        for index in ("leases", f"active:{first.job}"):
            assert raw.zscore(key(opened, index), first.run_id) is not None, index

    async def test_keys_that_are_no_rows(self, opened: RedisStore, raw: Raw) -> None:
        raw.set(key(opened, "run:text"), "x")
        raw.hset(key(opened, "run:few"), mapping={"attempt": "1", "message": "{", "state": "pending"})
        for name in ("text", "few", "nothing"):
            raw.zadd(key(opened, "outbox"), {name: 1})
        await opened.outbox.sort()
        assert await taken(opened) == []
        assert raw.zcard(key(opened, "outbox")) == 0
        letters = await opened.dead_letters.newest()
        assert {one.run_id for one in letters} == {"text", "few"}
        assert await opened.dead_letters.drop(["text", "few"]) == 2


class TestSweep:
    async def test_a_bad_row_keeps_no_other_from_being_handed_out_again(self, opened: RedisStore, raw: Raw) -> None:
        runs = [new(provider="nats") for _ in range(3)]
        for message in await send(opened, *runs):
            assert (await claim(opened, message, lease=NONE)).answer is Answer.RUN
        raw.hset(key(opened, f"run:{runs[0].run_id}"), mapping={"attempt": "one", "generation": "one"})
        raw.set(key(opened, "run:text"), "x")
        raw.zadd(key(opened, "leases"), {"text": 1})
        lapsed = await opened.claims.sweep(10)
        assert {one.run_id for one in lapsed} == {runs[1].run_id, runs[2].run_id}
        assert raw.zcard(key(opened, "leases")) == 0
        assert (await state(opened, runs[0].run_id)).verdict is Verdict.FAILED


class TestCursors:
    @pytest.mark.parametrize("cursor", ["x", "1e300", "inf", "", "99999999999999999"])
    async def test_a_bad_cursor_is_forgotten_and_declared_again(
        self, opened: RedisStore, raw: Raw, cursor: str
    ) -> None:
        past = await opened.now() - timedelta(seconds=5)
        jobs = [Declared(job=name, fingerprint="f", next_after_now=past) for name in ("broken", "sound")]
        await opened.cursors.declare(jobs, 1)
        raw.hset(key(opened, "job:broken"), "cursor", cursor)
        assert set(await opened.cursors.in_force(["broken", "sound"])) == {"sound"}
        assert [one.job for one in (await opened.cursors.due(10)).cursors] == ["sound"]
        assert await opened.cursors.declare(jobs, 1) == {}
        assert {one.job for one in (await opened.cursors.due(10)).cursors} == {"broken", "sound"}

    async def test_a_bad_account_begins_again(self, opened: RedisStore, raw: Raw) -> None:
        watched = [Watched(job="beat", fingerprint="f")]
        await opened.cursors.watch(watched, 1)
        raw.hset(key(opened, "job:beat"), "cursor", "x")
        before = await opened.now()
        await opened.cursors.account(watched, before - timedelta(days=1))
        raw.hset(key(opened, "job:beat"), "cursor", "x")
        assert (await opened.cursors.watch(watched, 1))["beat"] >= before - timedelta(seconds=1)


class TestReading:
    @pytest.mark.parametrize("field", ODD)
    async def test_an_odd_field_is_shown_and_hides_no_other_run(
        self, opened: RedisStore, raw: Raw, field: str, valkey_url: str
    ) -> None:
        odd, sound = new(), new()
        for run in (odd, sound):
            await run_through(opened, run, Verdict.FAILED)
        raw.hset(key(opened, f"run:{odd.run_id}"), field, ODD[field])
        rows = {run.run_id: run for run in await opened.ledger.runs()}
        failure = rows[odd.run_id].failure
        assert failure
        assert failure.type == "UnreadableRow"
        assert rows[sound.run_id].failure is None
        assert len(await opened.dead_letters.newest()) == 2
        assert glance(valkey_url, opened.namespace, ["backup"])
        assert (await opened.ledger.latest(["backup"]))["backup"].newest

    async def test_a_letter_without_a_row_is_shown_and_dropped(self, opened: RedisStore, raw: Raw) -> None:
        raw.zadd(key(opened, "dead"), {"gone": 1, "never": "inf"})
        never, letter = await opened.dead_letters.newest()
        assert (never.run_id, letter.run_id) == ("never", "gone")
        assert letter.failure
        assert "the row is gone" in letter.failure.message
        assert await opened.dead_letters.drop(["gone", "never"]) == 2

    async def test_a_notice_that_is_none_is_dropped_and_logged_once(
        self, opened: RedisStore, raw: Raw, caplog: pytest.LogCaptureFixture
    ) -> None:
        await run_through(opened, new(), Verdict.FAILED)
        for text in ("{", "3", "{}", '{"what": "news"}', b"\xff"):
            raw.rpush(key(opened, "notices"), text)
        found = [one for _ in range(3) for one in await opened.notices.take(10)]
        assert [one.what for one in found] == [Happening.FAILED]
        assert len([one for one in caplog.records if getattr(one, "action", "") == "notice_unreadable"]) == 5


class TestStrangers:
    async def test_a_body_is_kept_to_a_bound(self, store: Store) -> None:
        body = b"\0" * 90_000_000
        letter = await store.dead_letters.get(await store.dead_letters.bury(body, Reason.INVALID_MESSAGE))
        assert letter
        assert len(letter.body) < KEPT_BYTES + 100
        assert letter.body.endswith(f"(the first {KEPT_BYTES} of 90000000 bytes)")

    @pytest.mark.parametrize("generation", [FIRST_GENERATIONS + 1, GENERATIONS])
    async def test_a_generation_without_room_for_retries_is_no_run(self, opened: RedisStore, generation: int) -> None:
        stranger = Message(job="backup", run_id="stranger", generation=generation)
        assert (await claim(opened, stranger)).answer is Answer.TOO_OLD
        assert await opened.ledger.run("stranger") is None

    async def test_one_that_has_room_is_tried_again_and_ends(self, opened: RedisStore) -> None:
        stranger = Message(job="backup", run_id="stranger", generation=FIRST_GENERATIONS)
        held = await claim(opened, stranger)
        await settle(opened, held, None, retry_after=timedelta(0))
        assert (await state(opened, "stranger")).state is State.RETRYING
        [again] = await taken(opened)
        assert again.generation == FIRST_GENERATIONS + 1
        assert (await claim(opened, again)).answer is Answer.RUN
