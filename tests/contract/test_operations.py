"""If an answer of the store is lost, the operation is executed once and the caller still gets the answer.

Each function of each script is called over a connection that is cut after the server has answered. The same calls
without cuts, in another namespace, give the expected answers and rows.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from horae.errors import StoreUncertain
from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.reasons import Reason
from horae.redis.keys import PROVIDER, SCHEMA
from horae.runs import Cause, Run, State, Verdict
from horae.settings import StoreSettings
from horae.store.base import Store
from horae.store.cursors import Advance, Cursor, Declared, Watched
from horae.store.limits import STEP
from horae.store.redis import RedisStore
from horae.store.redis.claims import RedisClaims
from horae.store.redis.connection import REPEATABLE, Connection
from horae.store.redis.schema import RedisSchema
from horae.store.redis.scripts import scripts
from horae.store.values import Happening, NewRun, Notice, Settlement
from tests.contract.stores import LEASE, PROVIDERS, T0, Clock, claim, new, pruned, steered_store, wants
from tests.cutting_proxy import CuttingProxy

type Ask = Callable[[Store], Awaitable[Any]]


def one(run_id: str, **fields: object) -> NewRun:
    return new(**{"run_id": run_id} | fields)  # type: ignore[arg-type]


async def held(store: Store) -> Any:
    await store.outbox.accept([one("r1")])
    return await claim(store, one("r1").message)


def fire(at: int) -> NewRun:
    return NewRun(
        run_id=f"f{at}", job="backup", tier=Tier.ONEIRIC, cause=Cause.SCHEDULE, scheduled_for=T0 + timedelta(seconds=at)
    )


async def declared(store: Store) -> dict[str, str]:
    backup = Declared(job="backup", fingerprint="f1", next_after_now=T0)
    return await store.cursors.declare([backup], 1)


def connection_of(store: Store) -> Connection:
    assert isinstance(store, RedisStore)
    return store._connection


def settlement(held: Any, **how: Any) -> Settlement:
    return Settlement(claim=held, **how)


async def begin(store: Store) -> Any:
    return await store.claims.begin(one("r1", cause=Cause.MANUAL), Overlap.ALLOW, "w1", LEASE)


async def record(store: Store) -> None:
    missed: dict[str, Any] = {"cause": Cause.SCHEDULE, "state": State.MISSED, "scheduled_for": T0, "reason": "r"}
    await store.ledger.record([Run(run_id="x1", job="flow", tier=Tier.PREFECT, **missed)])


async def renewed(store: Store, claim: Any) -> Any:
    return await asyncio.to_thread(store.claims.renew, [claim], LEASE)


NOTICE = Notice(what=Happening.MISSED, run_id="r", job="j", at=T0, scheduled_for=None, reason=Reason.SUPERSEDED)
WATCHED = Watched(job="beat", fingerprint="f1")
ADVANCE = Advance(
    cursor=Cursor(job="backup", fingerprint="f1", at=T0), to=T0, next_fire=T0 + LEASE, runs=[fire(0), fire(-5)]
)
CASES: dict[tuple[str, str], tuple[Ask, Callable[[Store, Any], Awaitable[Any]]]] = {}


def case(noun: str, function: str, before: Ask, ask: Callable[[Store, Any], Awaitable[Any]]) -> None:
    CASES[noun, function] = before, ask


async def nothing(store: Store) -> None:
    return None


async def accepted(store: Store) -> Any:
    return await store.outbox.accept([one("r1")])


async def published(store: Store) -> None:
    await store.outbox.accept([one("r1")])
    await store.outbox.published([one("r1").message], "nats")


async def accepted_for_later(store: Store) -> Any:
    return await store.outbox.accept([one("r1", due=T0 + 60 * LEASE)])


async def moved(store: Store) -> None:
    await store.moves.move("nats")


async def buried(store: Store) -> Any:
    held_claim = await held(store)
    return await store.claims.settle([settlement(held_claim, verdict=Verdict.FAILED, reason=Reason.RAISED)])


async def put_back(store: Store) -> None:
    await store.notices.put_back([NOTICE])


async def paused(store: Store) -> None:
    await store.pauses.pause("backup")
    await store.outbox.accept([one("r1")])
    await claim(store, one("r1").message)


async def left(store: Store) -> None:
    """A caller died after the first step of a resumption."""
    await store.pauses.pause("backup")
    runs = [one(f"r{number}") for number in range(STEP + 1)]
    await store.outbox.accept(runs)
    await store.claims.claim([wants(run.message) for run in runs], "w1", LEASE)
    await connection_of(store).call("pauses", "resume", job="backup")


async def left_by_claim(store: Store) -> str:
    """A caller died after the first step of a claim that supersedes older fires. Returns where to continue."""
    await store.pauses.pause("backup")
    *older, newest = [fire(at) for at in range(STEP + 2)]
    await store.outbox.accept([*older, newest])
    await store.claims.claim([wants(run.message) for run in older], "w1", LEASE)
    wanted = wants(newest.message, catch_up=CatchUp.LATEST)
    [answer] = await RedisClaims(connection_of(store))._claimed([wanted], "w1", LEASE)
    start: str = answer[6]
    return start


async def supersede(store: Store, start: str) -> Any:
    return await connection_of(store).call("claims", "supersede", job="backup", start=start)


async def watched(store: Store) -> Any:
    return await store.cursors.watch([WATCHED], 1)


case("intake", "accept", nothing, lambda s, _: s.outbox.accept([one("r1", unique="k"), one("r2", unique="k")]))
case("outbox", "take", accepted, lambda s, _: s.outbox.take(PROVIDERS, 10, LEASE))
case("outbox", "set_aside", accepted, lambda s, _: cast(RedisStore, s).outbox.set_aside(["r1"]))
case("outbox", "publish_own", accepted, lambda s, _: s.outbox.publish_own(10))
case("outbox", "published", accepted, lambda s, _: s.outbox.published([one("r1").message]))
case("outbox", "upcoming", accepted_for_later, lambda s, _: s.outbox.upcoming("", 60 * LEASE))
case("outbox", "placed", accepted_for_later, lambda s, _: s.outbox.placed([one("r1").message]))
case("outbox", "republish", published, lambda s, _: s.outbox.republish("nats", T0 - T0, "gone", 10))
case("outbox", "by_provider", accepted, lambda s, _: s.outbox.by_provider())
case("outbox", "sort", accepted, lambda s, _: s.outbox.sort())
case("moves", "move", nothing, lambda s, _: s.moves.move("nats", "backup"))
case("moves", "end_move", moved, lambda s, _: s.moves.end("nats"))
case("moves", "follow", accepted, lambda s, _: s.moves.follow(""))
case("claims", "claim", accepted, lambda s, _: claim(s, one("r1").message))
case("claims", "supersede", left_by_claim, supersede)
case("claims", "begin", nothing, lambda s, _: begin(s))
case("leases", "again", held, lambda s, c: s.claims.again(settlement(c, retry_after=LEASE, reason=Reason.RAISED)))
case("leases", "renew", held, renewed)
case("leases", "settle", held, lambda s, c: s.claims.settle([settlement(c, verdict=Verdict.RAN)]))
case("leases", "sweep", held, lambda s, _: s.claims.sweep(10))
case("leases", "report", held, lambda s, c: s.claims.report(c, "half"))
case("leases", "cancel", accepted, lambda s, _: s.claims.cancel("r1"))
case("cursors", "declare", nothing, lambda s, _: declared(s))
case("cursors", "forget", declared, lambda s, _: s.cursors.declare([], 2))
case("cursors", "in_force", declared, lambda s, _: s.cursors.in_force(["backup"]))
case("cursors", "watch", nothing, lambda s, _: watched(s))
case("cursors", "account", watched, lambda s, _: s.cursors.account([WATCHED], T0 + LEASE))
case("cursors", "due", declared, lambda s, _: s.cursors.due(10))
case("cursors", "advance", declared, lambda s, _: s.cursors.advance([ADVANCE]))
case("ledger", "record", nothing, lambda s, _: record(s))
case("ledger", "append_log", held, lambda s, _: s.ledger.append_log("r1", ["a", "b"]))
case("ledger", "prune", buried, lambda s, _: pruned(s))
case("ledger", "prune_letters", buried, lambda s, _: pruned(s))
case("ledger", "waiting", paused, lambda s, _: s.ledger.figures())
case("ledger", "figures", held, lambda s, _: s.ledger.figures())
case("notices", "take", put_back, lambda s, _: s.notices.take(10))
case("notices", "put_back", nothing, lambda s, _: put_back(s))
case("dead_letters", "bury", nothing, lambda s, _: s.dead_letters.bury(b"{", Reason.INVALID_MESSAGE))
case("dead_letters", "drop", buried, lambda s, _: s.dead_letters.drop(["r1"]))
case("dead_letters", "page", buried, lambda s, _: s.dead_letters.newest())
case("schema", "raise", nothing, lambda s, _: connection_of(s).call("schema", "raise", to=SCHEMA))
case("schema", "rewrite", held, lambda s, _: RedisSchema(connection_of(s)).upgrade())
case("pauses", "pause", nothing, lambda s, _: s.pauses.pause("backup"))
case("pauses", "resume", paused, lambda s, _: s.pauses.resume("backup"))
case("pauses", "release", left, lambda s, _: connection_of(s).call("pauses", "release"))


def test_each_function_of_each_script_has_a_case() -> None:
    there = {(noun, name) for noun, text in scripts().items() for name in re.findall(r"function calls\.(\w+)\(", text)}
    assert there - set(CASES) == set(), "add a case: its answer may be lost too"
    assert {function for _, function in CASES} >= REPEATABLE


@pytest.fixture
async def proxy(valkey_url: str) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(int(valkey_url.rpartition(":")[2].partition("/")[0])) as opened:
        yield opened


async def look(store: Store) -> Any:
    """The content of the store, without the parts that depend on the namespace."""
    runs = [(run.run_id, run.state, run.attempts, len(run.story)) for run in await store.ledger.runs(limit=100)]
    logs = [await store.ledger.log(run_id) for run_id, *_ in runs]
    return (
        len(runs),
        [run[1:] for run in runs],
        logs,
        (await store.ledger.figures()).settled,
        await store.pauses.paused(),
    )


@pytest.mark.parametrize("carried", ["", PROVIDER])
@pytest.mark.parametrize(("noun", "function"), CASES, ids=[".".join(key) for key in CASES])
async def test_an_answer_that_was_lost_is_given_again(
    valkey_url: str, proxy: CuttingProxy, namespace: str, noun: str, function: str, carried: str
) -> None:
    before, ask = CASES[noun, function]
    answers, rows = [], []
    for place in ("cut", "whole"):
        clock = Clock()
        url = f"redis://127.0.0.1:{proxy.port}/0" if place == "cut" else valkey_url
        store = steered_store(url, f"{namespace}{place}", StoreSettings(), clock, carried)
        prepared = await before(store)
        if function == "sweep":
            clock.move(2 * LEASE)
        if place == "cut":
            proxy.cut(f"{function}\r\n")
        answers.append(await asyncio.wait_for(ask(store, prepared), 10))
        rows.append(await look(store))
        await store.close()
    assert proxy.cuts == 1, "nothing was cut"
    if (noun, function) != ("dead_letters", "bury"):  # it answers with an id of its own
        assert answers[0] == answers[1]
    assert rows[0] == rows[1]


async def test_a_server_that_stays_away_leaves_it_open(valkey_url: str, proxy: CuttingProxy, namespace: str) -> None:
    """If no answer ever comes, the error names the run. A second call with the same id does not make a second run."""
    store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0", namespace, StoreSettings())
    await store.now()
    await store.outbox.accept([one("r0")])
    proxy.cut("accept\r\n", for_good=True)
    with pytest.raises(StoreUncertain, match=r"may have accepted r1: ask with `horae show r1`"):
        await store.outbox.accept([one("r1")])
    await store.close()
    direct = RedisStore(valkey_url, namespace, StoreSettings())
    [again] = await direct.outbox.accept([one("r1")])
    assert not again.new
    await direct.close()


async def test_two_hundred_at_once_wait_for_a_connection(valkey_url: str, namespace: str) -> None:
    store = RedisStore(valkey_url, namespace, StoreSettings())
    found = await asyncio.gather(*(store.outbox.accept([one(f"r{number}")]) for number in range(200)))
    assert all(accepted.new for [accepted] in found)
    await store.close()
