"""A store that the release before wrote is read, gone on with and marked; what a newer one wrote is refused."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio

from horae.clock import to_millis
from horae.errors import UnsafeStore
from horae.jobs.policies import CatchUp, Overlap
from horae.messages import Message, Priority
from horae.queues.redis import RedisConsumer
from horae.reasons import Reason
from horae.redis.keys import PROVIDER, key_prefix
from horae.runs import Cause, State, Verdict
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.redis.connection import check_version
from horae.store.values import Answer, Cancelled, Stop
from tests.contract.stores import LEASE, NONE, T0, claim, handed_out, new, settle, state, verdict_of
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
CONTEXT, METADATA = {"repos": ["é", 1, None], "none": {}}, {"m": 1}


class Schema1:
    """Writes as schema 1 did: the parts of a message instead of the message, and every counter from the beginning."""

    def __init__(self, client: Any, namespace: str) -> None:
        self._client, self._prefix = client, key_prefix(namespace)

    async def mark(self, schema: int = 1) -> None:
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

    async def index(self, name: str, id: str) -> None:
        await self._client.zadd(self._prefix + name, {id: to_millis(T0)})


@pytest.fixture
async def schema1(valkey_url: str, namespace: str) -> AsyncIterator[Schema1]:
    client: Any = redis.asyncio.Redis.from_url(valkey_url, decode_responses=True)
    old = Schema1(client, namespace)
    await old.mark()
    yield old
    await client.aclose()


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
    async def test_a_store_of_the_schema_before_is_marked_as_ours(self, schema1: Schema1, opened: Opened) -> None:
        await opened().check()
        assert await schema1.marked() == 2

    async def test_a_newer_one_is_refused_and_left_alone(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.mark(3)
        with pytest.raises(UnsafeStore, match="holds schema 3 and this Horae knows 2"):
            await opened().check()
        with pytest.raises(UnsafeStore):
            await opened().outbox.accept([new()])
        assert await schema1.marked() == 3

    async def test_one_from_before_that_is_refused(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.mark(0)
        with pytest.raises(UnsafeStore, match="reads 1 and 2"):
            await opened().check()


class TestRows:
    async def test_a_row_is_read_whole(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.write(
            "r1", context='{"repos": ["é", 1, null], "none": {}}', metadata='{"m": 1}', cause="schedule",
            scheduled_for=str(to_millis(T0)),
        )  # fmt: skip
        row = await state(opened(), "r1")
        assert (row.context, row.metadata, row.scheduled_for, row.cause) == (CONTEXT, METADATA, T0, Cause.SCHEDULE)
        assert (row.attempts, row.state) == (0, State.PENDING)

    @pytest.mark.parametrize("attempt", [1, 3])
    async def test_what_is_in_the_outbox_is_published(self, schema1: Schema1, opened: Opened, attempt: int) -> None:
        await schema1.write(
            "r1", context='{"repos": ["é", 1, null], "none": {}}', metadata='{"m": 1}', lane="high", attempt=attempt,
            scheduled_for=str(to_millis(T0)),
        )  # fmt: skip
        await schema1.index("outbox", "r1")
        [message] = await handed_out(opened())
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
        self, schema1: Schema1, opened: Opened, valkey_url: str, namespace: str
    ) -> None:
        await schema1.write("r1", context='{"a": 1}', scheduled_for=str(to_millis(T0)))
        await schema1.index("outbox", "r1")
        store, consumer = opened(PROVIDER), RedisConsumer(valkey_url, namespace, 1024, "w1")
        assert (await store.outbox.take(10, LEASE)).published == 1
        for attempt in (1, 2, 3):
            [delivery] = await consumer.receive(1, LEASE)
            assert delivery.message
            assert (delivery.message.generation, delivery.message.context) == (attempt, {"a": 1})
            assert delivery.message.scheduled_for == T0
            await settle(store, await claim(store, delivery.message), None, retry_after=NONE)
        await consumer.close()

    async def test_what_is_at_the_broker_is_claimed_and_settled(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.write("r1", state="queued", context='{"a": 1}')
        store = opened()
        held = await claim(store, Message(job="backup", run_id="r1", context={"a": 1}))
        assert (held.answer, held.attempts, held.failures) == (Answer.RUN, 1, 0)
        assert await settle(store, held, Verdict.FAILED, reason=Reason.RAISED)
        [letter] = await store.dead_letters.newest()
        assert letter.message
        assert letter.message.context == {"a": 1}

    async def test_a_fire_that_no_worker_has_begun_is_judged(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.write("r1", state="queued", cause="schedule", scheduled_for=str(to_millis(T0)))
        answer = await claim(opened(), Message(job="backup", run_id="r1", scheduled_for=T0), catch_up=CatchUp.NONE)
        assert answer.reason == "missed: not caught up"

    async def test_a_lease_goes_on_and_what_waits_is_released(self, schema1: Schema1, opened: Opened) -> None:
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

    async def test_a_worker_of_before_hears_that_it_is_cancelled(self, schema1: Schema1, opened: Opened) -> None:
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

    async def test_a_letter_can_be_replayed(self, schema1: Schema1, opened: Opened) -> None:
        await schema1.write("r1", state="failed", reason=Reason.RAISED, ended_at=str(to_millis(T0)), context='{"a": 1}')
        await schema1.index("dead", "r1")
        store = opened()
        [letter] = await store.dead_letters.newest()
        assert letter.message
        await store.outbox.accept([new(cause=Cause.REPLAY, replays="r1", context=letter.message.context)])
        assert await store.dead_letters.newest() == []

    async def test_overlap_counts_what_it_left_active(self, schema1: Schema1, opened: Opened) -> None:
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
