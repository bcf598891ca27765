"""The state stores of the contract tests, and steps that the tests share."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import redis

from horae.clock import to_millis
from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.redis.keys import SCHEMA, key_prefix
from horae.runs import Cause, Failure, Run, Verdict, fire_id, new_run_id
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.redis import RedisStore
from horae.store.redis.connection import Connection
from horae.store.redis.scripts import scripts
from horae.store.values import Claim, NewRun, Policy, Settlement, Wanted

LEASE = timedelta(seconds=30)
NONE = timedelta(0)
PROVIDERS = ("", "redis", "nats", "own")
"""All that the tests use. The empty one is the default."""
ANY_AGE = timedelta(days=36_500)
T0 = datetime(2026, 3, 1, 2, tzinfo=UTC)
MILLI = timedelta(milliseconds=1)


class Clock:
    """A clock for a store that the test moves."""

    def __init__(self, at: datetime = T0) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        self.at += by


class SteeredConnection(Connection):
    """A connection to a real server whose scripts get the time from the test instead of the server."""

    ASKS, IS_TOLD = "redis.call('TIME')", "{ ARGV[#ARGV - 1], ARGV[#ARGV] }"

    def __init__(self, clock: Callable[[], datetime], *args: Any) -> None:
        super().__init__(*args)
        self._clock = clock
        texts = scripts()
        assert all(text.count(self.ASKS) == 1 for text in texts.values()), "the scripts have one clock, in the prelude"
        told = {name: self.told(text) for name, text in texts.items()}
        self._scripts = {name: self.client.register_script(text) for name, text in told.items()}
        self._blocking_scripts = {name: self._blocking.register_script(text) for name, text in told.items()}

    def told(self, text: str) -> str:
        return text.replace(self.ASKS, self.IS_TOLD)

    def _arguments(self, function: str, arguments: dict[str, Any]) -> tuple[str | bytes, ...]:
        now = self._clock()
        return (*super()._arguments(function, arguments), str(int(now.timestamp())), str(now.microsecond))

    async def now(self) -> datetime:
        return self._clock()


def steered_store(
    url: str,
    namespace: str,
    settings: StoreSettings,
    clock: Callable[[], datetime],
    carried: str = "",
    connection: type[SteeredConnection] = SteeredConnection,
) -> RedisStore:
    """A store on a real server with the clock `clock`. Keys still expire by the server's own clock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("horae.store.redis.Connection", partial(connection, clock))
        return RedisStore(url, namespace, settings, carried)


def upgrade(url: str, namespace: str) -> None:
    """Give a namespace the newest schema."""
    with redis.Redis.from_url(url) as client:
        client.set(f"{key_prefix(namespace)}schema", SCHEMA)


def id_made_at(at: datetime, tail: int = 1) -> str:
    """A UUIDv7 of that instant."""
    return str(UUID(int=(to_millis(at) << 80) | (7 << 76) | (2 << 62) | tail))


def new(job: str = "backup", **fields: object) -> NewRun:
    defaults: dict[str, object] = {"run_id": new_run_id(), "tier": Tier.ONEIRIC, "cause": Cause.ENQUEUE}
    return NewRun(job=job, **(defaults | fields))  # type: ignore[arg-type]


def fire_at(at: datetime, job: str = "backup", **fields: object) -> NewRun:
    return new(job, run_id=fire_id("t", job, at), cause=Cause.SCHEDULE, scheduled_for=at, **fields)


def fire(minute: int, job: str = "backup", **fields: object) -> NewRun:
    return fire_at(T0 + timedelta(minutes=minute), job, **fields)


def wants(message: Message, unique: str = "", **policy: object) -> Wanted:
    """A wanted claim; by default its policy lets every run run. With `known=False` the worker does not know the job."""
    if not policy.pop("known", True):
        return Wanted(message=message, policy=None, unique=unique)
    defaults: dict[str, object] = {"overlap": Overlap.ALLOW, "catch_up": CatchUp.ALL, "catch_up_window": ANY_AGE}
    return Wanted(message=message, policy=Policy(**(defaults | policy)), unique=unique)  # type: ignore[arg-type]


async def taken(store: Store, hold: timedelta = LEASE) -> list[Message]:
    """The messages that a relay takes."""
    return [due.message for due in (await store.outbox.take(PROVIDERS, 100, hold)).entries]


async def next_in(store: Store) -> timedelta | None:
    return (await store.outbox.take(PROVIDERS, 0, NONE)).next_in


async def handed_out(store: Store) -> list[Message]:
    """The messages that a relay takes and publishes."""
    messages = await taken(store)
    await store.outbox.published(messages)
    return messages


async def send(store: Store, *runs: NewRun) -> list[Message]:
    """Accept and publish runs. Returns their messages in the order given."""
    await store.outbox.accept(runs)
    messages = await handed_out(store)
    order = [run.run_id for run in runs]
    return sorted(messages, key=lambda message: order.index(message.run_id))


async def claim(
    store: Store, message: Message, worker: str = "w1", lease: timedelta = LEASE, unique: str = "", **policy: object
) -> Claim:
    return (await store.claims.claim([wants(message, unique, **policy)], worker, lease))[0]


async def settle(store: Store, held: Claim, verdict: Verdict | None = Verdict.RAN, **fields: object) -> bool:
    return (await store.claims.settle([Settlement(claim=held, verdict=verdict, **fields)]))[0]  # type: ignore[arg-type]


async def run_through(store: Store, run: NewRun, verdict: Verdict = Verdict.RAN, **fields: object) -> None:
    """Accept, publish, claim and settle a run."""
    [message] = await send(store, run)
    assert await settle(store, await claim(store, message), verdict, **fields)


async def state(store: Store, run_id: str) -> Run:
    found = await store.ledger.run(run_id)
    assert found
    return found


async def verdict_of(store: Store, run_id: str) -> tuple[Verdict | None, Reason | None]:
    row = await state(store, run_id)
    return row.verdict, row.reason


async def pruned(store: Store) -> int:
    """Prune like the sweeper, until nothing is left to prune. Returns how many were dropped."""
    return sum([gone async for gone in store.ledger.prune()])


async def died(store: Store, *runs: NewRun) -> list[str]:
    """Let runs fail, so that they leave dead letters. Returns their ids."""
    for message in await send(store, *runs):
        failure = Failure(type="OSError", message="disk full", traceback="…")
        await settle(store, await claim(store, message), Verdict.FAILED, reason=Reason.RAISED, failure=failure)
    return [run.run_id for run in runs]
