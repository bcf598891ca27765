"""Horae reads and writes a store in the store's own schema. Only an operator raises it. Unknown schemas are refused."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
import redis.asyncio
from pydantic import SecretStr

from horae.clock import to_millis
from horae.errors import UnsafeStore
from horae.jobs.policies import CatchUp, Overlap
from horae.messages import Message, Priority
from horae.queues.redis import RedisConsumer
from horae.reasons import Reason
from horae.redis.keys import PROVIDER, SCHEMA, key_prefix
from horae.runs import Cause, State, Verdict
from horae.settings import Settings, StoreSettings
from horae.store.redis import RedisStore
from horae.store.redis.connection import check_version
from horae.store.redis.schema import RedisSchema
from horae.store.redis.schema import opened as opened_schema
from horae.store.values import Answer, Cancelled, NewRun, Stop
from tests.contract.stores import (
    LEASE,
    NONE,
    PROVIDERS,
    T0,
    claim,
    died,
    handed_out,
    new,
    settle,
    state,
    verdict_of,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
CONTEXT, METADATA = {"repos": ["é", 1, None], "none": {}}, {"m": 1}


class Old:
    """Writes rows as schema 1 did: the parts of a message instead of the message, and every counter from the beginning.

    The release before raised such a store to schema 2 and left its rows as they were.
    """

    def __init__(self, client: Any, namespace: str) -> None:
        self._client, self._prefix = client, key_prefix(namespace)

    async def mark(self, schema: int) -> None:
        await self._client.set(f"{self._prefix}schema", schema)

    async def marked(self) -> int:
        return int(await self._client.get(f"{self._prefix}schema"))

    async def write(self, id: str, job: str = "backup", **fields: Any) -> None:
        now = str(to_millis(T0))
        row = {
            "job": job, "tier": "oneiric", "cause": "enqueue", "state": "pending", "scheduled_for": "", "attempt": 1,
            "attempts": 0, "failures": 0, "deaths": 0, "accepted_at": now, "provider": PROVIDER, "lane": "normal",
            "context": "{}", "metadata": "{}", "story": f"{now}|accepted|1|enqueue\n",
        }  # fmt: skip
        await self._client.hset(f"{self._prefix}run:{id}", mapping=row | fields)
        for index in ("ledger", f"ledger:{job}"):
            await self.index(index, id)

    async def row(self, id: str) -> dict[str, str]:
        row: dict[str, str] = await self._client.hgetall(f"{self._prefix}run:{id}")
        return row

    async def address(self) -> str:
        """The library name of the store's connection at the server."""
        return str((await self._client.client_info())["addr"])

    async def notices(self) -> list[dict[str, str]]:
        """As they are written."""
        return [json.loads(text) for text in await self._client.lrange(f"{self._prefix}notices", 0, -1)]

    async def index(self, name: str, id: str, at: datetime = T0) -> None:
        await self._client.zadd(self._prefix + name, {id: to_millis(at)})

    async def fill(self, name: str, count: int) -> None:
        await self._client.zadd(self._prefix + name, {f"r{number}": to_millis(T0) for number in range(count)})

    async def unindex(self, name: str, id: str) -> None:
        await self._client.zrem(self._prefix + name, id)

    async def indexed(self, name: str) -> list[str]:
        found: list[str] = await self._client.zrange(self._prefix + name, 0, -1)
        return found


@pytest.fixture
async def old(valkey_url: str, namespace: str) -> AsyncIterator[Old]:
    """A namespace without a mark."""
    client: Any = redis.asyncio.Redis.from_url(valkey_url, decode_responses=True)
    yield Old(client, namespace)
    await client.aclose()


@pytest.fixture(params=[SCHEMA - 1, SCHEMA])
async def schema1(request: pytest.FixtureRequest, old: Old) -> Old:
    """The rows, under each schema that may have them: after an upgrade too, until they are rewritten."""
    await old.mark(request.param)
    return old


@pytest.fixture
async def opened(valkey_url: str, namespace: str) -> AsyncIterator[Callable[[str], RedisStore]]:
    """A store of today on that server; with the provider that it carries."""
    stores: list[RedisStore] = []

    def open_store(carried: str = "") -> RedisStore:
        stores.append(RedisStore(valkey_url, namespace, StoreSettings(), carried))
        return stores[-1]

    yield open_store
    for store in stores:
        await store.close()


Opened = Callable[..., RedisStore]


class TestTheMark:
    async def test_a_new_store_begins_with_the_schema_of_the_release_before(self, old: Old, opened: Opened) -> None:
        await opened().check()
        assert await old.marked() == SCHEMA - 1

    @pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA])
    async def test_a_mark_stays_as_it_is(self, old: Old, opened: Opened, schema: int) -> None:
        await old.mark(schema)
        await opened().check()
        await opened().outbox.accept([new()])
        assert await old.marked() == schema

    async def test_a_newer_one_is_refused_and_left_alone(self, old: Old, opened: Opened) -> None:
        await old.mark(SCHEMA + 1)
        with pytest.raises(UnsafeStore, match="has schema 4, but this Horae reads only up to 3"):
            await opened().check()
        with pytest.raises(UnsafeStore):
            await opened().outbox.accept([new()])
        assert await old.marked() == SCHEMA + 1

    async def test_one_from_before_that_is_refused_with_the_way_out(self, old: Old, opened: Opened) -> None:
        await old.mark(1)
        with pytest.raises(UnsafeStore, match=r"has schema 1, .* reads only 2 and 3; start the previous release"):
            await opened().check()
        assert await old.marked() == 1


class TestSpelling:
    """The field names of a row. The previous release reads `attempt`, `lane` and `run`."""

    async def write(self, store: RedisStore) -> str:
        run = new(priority=Priority.HIGH)
        await store.outbox.accept([run])
        [message] = await handed_out(store)
        await settle(store, await claim(store, message), None, reason=Reason.DRAINING)
        [message] = await handed_out(store)
        await settle(store, await claim(store, message), Verdict.FAILED, reason=Reason.RAISED, note="disk full")
        return run.run_id

    async def test_schema_2_is_written_for_the_release_before(self, old: Old, opened: Opened) -> None:
        row = await old.row(await self.write(opened()))
        assert (row["attempt"], row["lane"], row["reason"]) == ("2", "high", "raised: disk full")
        assert not {"generation", "priority", "note"} & set(row)
        [notice] = await old.notices()
        assert set(notice) == {"what", "run", "job", "at", "scheduled_for", "reason"}
        assert notice["reason"] == "raised: disk full"

    async def test_schema_3_has_todays_words(self, old: Old, opened: Opened) -> None:
        await old.mark(3)
        row = await old.row(id := await self.write(opened()))
        assert (row["generation"], row["priority"], row["reason"], row["note"]) == ("2", "high", "raised", "disk full")
        assert not {"attempt", "lane"} & set(row)
        [notice] = await old.notices()
        assert (notice["run_id"], notice["reason"], notice["note"]) == (id, "raised", "disk full")
        assert "run" not in notice

    async def test_an_open_process_follows_at_once(self, old: Old, opened: Opened) -> None:
        store = opened()
        await store.outbox.accept([first := new(priority=Priority.HIGH)])
        await old.mark(3)
        [message] = await handed_out(store)
        held = await claim(store, message)
        assert (held.answer, message.generation, message.priority) == (Answer.RUN, 1, Priority.HIGH)
        await settle(store, held, None, retry_after=NONE)
        [again] = await handed_out(store)
        assert (again.generation, again.priority) == (2, Priority.HIGH)
        assert (await old.row(first.run_id))["generation"] == "2"
        assert (await claim(store, message)).answer is Answer.DUPLICATE
        assert (await claim(store, again)).answer is Answer.RUN

    @pytest.mark.parametrize("schema", [2, 3])
    async def test_messages_keep_the_old_words(
        self, old: Old, opened: Opened, valkey_url: str, namespace: str, schema: int
    ) -> None:
        """The previous release treats a message with an unknown key as invalid."""
        await old.mark(schema)
        store, consumer = opened(PROVIDER), RedisConsumer(valkey_url, namespace, 1024, "w1")
        await store.outbox.accept([new(priority=Priority.HIGH, provider=PROVIDER)])
        [first] = await consumer.receive(1, LEASE)
        assert first.message
        await settle(store, await claim(store, first.message), None, retry_after=NONE)
        [second] = await consumer.receive(1, LEASE)
        assert set(json.loads(first.body)) == {"job", "run", "lane"}
        assert set(json.loads(second.body)) == {"job", "run", "lane", "attempt"}
        await consumer.close()


class TestUpgrade:
    @pytest.fixture
    async def schema(self, valkey_url: str, namespace: str) -> AsyncIterator[RedisSchema]:
        settings = Settings(namespace=namespace, store=StoreSettings(url=SecretStr(valkey_url)))
        async with opened_schema(settings) as found:
            yield found

    async def test_it_raises_the_mark_and_rewrites_what_is_there(
        self, old: Old, opened: Opened, schema: RedisSchema
    ) -> None:
        store = opened()
        await store.outbox.accept([fresh := new(priority=Priority.LOW)])
        await old.write("r1", context='{"a": 1}', lane="high", attempt=3)
        await old.index("outbox", "r1")
        await store.dead_letters.bury(b"{", Reason.INVALID_MESSAGE, "not JSON")
        before = await schema.state()
        assert (before.schema, before.runs) == (2, 3)
        assert await schema.upgrade() == 2
        assert await old.marked() == 3
        for id in (fresh.run_id, "r1"):
            assert not {"attempt", "lane"} & set(await old.row(id))
        found = {message.run_id: message for message in await handed_out(store)}
        assert (found["r1"].generation, found["r1"].priority, found["r1"].context) == (3, Priority.HIGH, {"a": 1})
        assert (found[fresh.run_id].generation, found[fresh.run_id].priority) == (1, Priority.LOW)
        [letter] = await store.dead_letters.newest()
        assert (letter.reason, letter.note) == (Reason.INVALID_MESSAGE, "not JSON")

    async def test_twice_is_once(self, old: Old, opened: Opened, schema: RedisSchema) -> None:
        await opened().outbox.accept([new() for _ in range(450)])
        assert [await schema.upgrade(), await schema.upgrade()] == [450, 0]

    async def test_notices_from_before_are_told(self, opened: Opened, schema: RedisSchema) -> None:
        store = opened()
        await died(store, first := new())
        await schema.upgrade()
        await died(store, second := new())
        told = await store.notices.take(10)
        assert [(one.run_id, one.reason) for one in told] == [(id.run_id, Reason.RAISED) for id in (first, second)]

    async def test_connections_of_the_release_before_are_seen(
        self, old: Old, opened: Opened, schema: RedisSchema
    ) -> None:
        """`old` connects like that release; the connections of the store and the command state their schema."""
        store = opened()
        await store.check()
        theirs, ours = await old.address(), (await store._connection.client.client_info())["addr"]
        older = (await schema.state()).older
        if not any("lib-name" in one for one in await store._connection.client.client_list()):
            assert older is None, "Redis before 7.2 does not list libraries"
            return
        assert older is not None
        shown = {one.address for one in older}
        assert (theirs in shown, ours in shown) == (True, False)


class TestRelaysOfTheReleaseBefore:
    """They know only the set `outbox`, which has the entries of all providers."""

    @pytest.fixture
    async def sent(self, opened: Opened) -> NewRun:
        run = new(provider="nats")
        await opened().outbox.accept([run])
        return run

    async def found(self, store: RedisStore) -> list[str]:
        return [due.message.run_id for due in (await store.outbox.take(["nats"], 10, NONE)).entries]

    async def test_what_one_took_is_left_to_it_for_its_hold(self, old: Old, opened: Opened, sent: NewRun) -> None:
        store = opened()
        await old.index("outbox", sent.run_id, await store.now() + LEASE)
        assert await self.found(store) == []
        await old.index("outbox", sent.run_id)
        await store.outbox.sort()
        [runs] = await store.outbox.by_provider()
        assert (runs.provider, runs.outbox) == ("nats", 1)

    async def test_what_one_published_is_gone(self, old: Old, opened: Opened, sent: NewRun) -> None:
        store = opened()
        await old.unindex("outbox", sent.run_id)
        assert await self.found(store) == []
        [runs] = await store.outbox.by_provider()
        assert runs.outbox == 0

    async def test_they_see_what_this_release_writes(self, old: Old, sent: NewRun) -> None:
        assert await old.indexed("outbox") == [sent.run_id]

    async def test_thousands_of_their_entries_are_sorted_in_turn(self, old: Old, opened: Opened) -> None:
        store = opened()
        await old.mark(SCHEMA - 1)
        await old.fill("outbox", 2500)
        for number in (0, 2499):
            await old.write(f"r{number}", provider="nats")

        async def sorted_in() -> bool:
            await store.outbox.sort()
            found = [one.outbox for one in await store.outbox.by_provider() if one.provider == "nats"]
            return found == [2]

        await wait_until(sorted_in, "both rows to be sorted in")


class TestRows:
    async def test_a_row_is_read_whole(self, schema1: Old, opened: Opened) -> None:
        await schema1.write(
            "r1", context='{"repos": ["é", 1, null], "none": {}}', metadata='{"m": 1}', cause="schedule",
            scheduled_for=str(to_millis(T0)),
        )  # fmt: skip
        row = await state(opened(), "r1")
        assert (row.context, row.metadata, row.scheduled_for, row.cause) == (CONTEXT, METADATA, T0, Cause.SCHEDULE)
        assert (row.attempts, row.state) == (0, State.PENDING)

    @pytest.mark.parametrize("attempt", [1, 3])
    async def test_what_is_in_the_outbox_is_published(self, schema1: Old, opened: Opened, attempt: int) -> None:
        await schema1.write(
            "r1", context='{"repos": ["é", 1, null], "none": {}}', metadata='{"m": 1}', lane="high", attempt=attempt,
            scheduled_for=str(to_millis(T0)),
        )  # fmt: skip
        await schema1.index("outbox", "r1")
        store = opened()
        await store.outbox.sort()
        [message] = await handed_out(store)
        assert message == Message(
            job="backup",
            run_id="r1",
            generation=attempt,
            scheduled_for=T0,
            priority=Priority.HIGH,
            context=CONTEXT,
            metadata=METADATA,
        )

    async def test_the_server_publishes_it_itself(
        self, schema1: Old, opened: Opened, valkey_url: str, namespace: str
    ) -> None:
        await schema1.write("r1", context='{"a": 1}', scheduled_for=str(to_millis(T0)))
        await schema1.index("outbox", "r1")
        await opened().outbox.sort()
        store, consumer = opened(PROVIDER), RedisConsumer(valkey_url, namespace, 1024, "w1")
        assert (await store.outbox.take(PROVIDERS, 10, LEASE)).published == 1
        for attempt in (1, 2, 3):
            [delivery] = await consumer.receive(1, LEASE)
            assert delivery.message
            assert (delivery.message.generation, delivery.message.context) == (attempt, {"a": 1})
            assert delivery.message.scheduled_for == T0
            await settle(store, await claim(store, delivery.message), None, retry_after=NONE)
        await consumer.close()

    async def test_what_is_at_the_broker_is_claimed_and_settled(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="queued", context='{"a": 1}')
        store = opened()
        held = await claim(store, Message(job="backup", run_id="r1", context={"a": 1}))
        assert (held.answer, held.attempts, held.failures) == (Answer.RUN, 1, 0)
        assert await settle(store, held, Verdict.FAILED, reason=Reason.RAISED)
        [letter] = await store.dead_letters.newest()
        assert letter.message
        assert letter.message.context == {"a": 1}

    async def test_a_fire_that_no_worker_has_begun_is_judged(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="queued", cause="schedule", scheduled_for=str(to_millis(T0)))
        answer = await claim(opened(), Message(job="backup", run_id="r1", scheduled_for=T0), catch_up=CatchUp.NONE)
        assert answer.reason == "missed: not caught up"

    async def test_a_lease_goes_on_and_what_waits_is_released(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="running", token=7, attempts=1, worker="w1")
        await schema1.write("r2", context='{"a": 2}')
        for name, id in (("leases", "r1"), ("active:backup", "r1"), ("waiting:backup", "r2")):
            await schema1.index(name, id)
        store = opened()
        await store.pauses.pause()
        [lapsed] = await store.claims.sweep(10)
        assert lapsed.run_id == "r1"
        [again] = await handed_out(store)
        assert (again.run_id, again.generation) == ("r1", 2)
        await store.claims.cancel("r1")
        assert await store.pauses.resume() == 1, "what waited before is known to the pauses too"
        [waited] = await handed_out(store)
        assert (waited.run_id, waited.context) == ("r2", {"a": 2})

    async def test_a_worker_of_before_hears_that_it_is_cancelled(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="running", token=7, attempts=1, worker="w1", cancel="overlap")
        await schema1.index("leases", "r1")
        await schema1.index("active:backup", "r1")
        store = opened()
        held = (await claim(store, Message(job="backup", run_id="other"))).__class__(
            message=Message(job="backup", run_id="r1"), answer=Answer.RUN, token=7
        )

        async def heard() -> bool:
            return store.claims.renew([held], LEASE) == [Stop.OVERLAP]

        await wait_until(heard, "the renewal to say so")
        assert await store.claims.cancel("r1") is Cancelled.ASKED

    async def test_a_letter_can_be_replayed(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="failed", reason=Reason.RAISED, ended_at=str(to_millis(T0)), context='{"a": 1}')
        await schema1.index("dead", "r1")
        store = opened()
        [letter] = await store.dead_letters.newest()
        assert letter.message
        await store.outbox.accept([new(cause=Cause.REPLAY, replays="r1", context=letter.message.context)])
        assert await store.dead_letters.newest() == []

    async def test_overlap_counts_what_it_left_active(self, schema1: Old, opened: Opened) -> None:
        await schema1.write("r1", state="running", token=7, attempts=1)
        await schema1.index("active:backup", "r1")
        store = opened()
        assert (await claim(store, Message(job="backup", run_id="r2"), overlap=Overlap.QUEUE)).answer is Answer.LATER
        assert await verdict_of(store, "r2") == (None, None)


@pytest.mark.parametrize("version", ["7.0.15", "7.2.4", "8.6.0", "255.255.255", ""])
def test_a_server_that_is_new_enough_or_does_not_say(version: str) -> None:
    check_version({"redis_version": version}, "redis://here")


@pytest.mark.parametrize("version", ["6.2.14", "5.0.3", "2.8"])
def test_a_server_that_is_too_old_is_refused(version: str) -> None:
    with pytest.raises(UnsafeStore, match=rf"at redis://here is Redis {version}; Horae needs Redis 7\.0 or newer"):
        check_version({"redis_version": version}, "redis://here")
