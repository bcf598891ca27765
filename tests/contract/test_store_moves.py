"""Failover, moving slots and unsafe servers: the store follows, waits, or refuses."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from horae.clock import monotonic, now, to_millis
from horae.errors import HoraeError, QueueUnavailable, StoreUnavailable, UnsafeStore
from horae.local.ports import LOOPBACK
from horae.messages import Message
from horae.queues.redis import RedisConsumer, RedisPublisher
from horae.redis.access import RedisAccess
from horae.redis.clients import open_blocking_client, open_client, replicas
from horae.redis.keys import key_prefix
from horae.redis.locator import CHECK_SECONDS
from horae.settings import StoreSettings
from horae.store.redis import RedisStore
from horae.store.values import Answer
from tests.contract.stores import claim, new, send, settle, state
from tests.redis_servers import Cluster, Server, Watched, cluster, server, watched
from tests.waiting import wait_until

pytestmark = pytest.mark.requires("valkey")
LEASE = timedelta(seconds=30)
LIMIT = 65536


@pytest.fixture
def sentinels(tmp_path: Path) -> Iterator[Watched]:
    with watched(tmp_path / "sentinels") as found:
        yield found


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Cluster]:
    with cluster(tmp_path / "cluster") as found:
        yield found


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Server]:
    with server(tmp_path / "lone") as found:
        yield found


def store_at(url: str, namespace: str) -> RedisStore:
    return RedisStore(url, namespace, StoreSettings())


async def works_again(store: RedisStore) -> None:
    """Accept, claim and settle a run when the store is back."""

    async def accepted() -> list[Message]:
        try:
            return await send(store, new())
        except StoreUnavailable:
            return []

    [message] = await wait_until(accepted, "the store to be back", 30)
    held = await claim(store, message)
    await asyncio.to_thread(store.claims.renew, [held], LEASE)
    assert await settle(store, held)


async def test_after_the_death_of_a_primary_the_store_goes_on_at_its_replica(
    sentinels: Watched, namespace: str
) -> None:
    store = store_at(sentinels.url, namespace)
    try:
        [message] = await send(store, new())
        held = await claim(store, message)
        await asyncio.to_thread(store.claims.renew, [held], LEASE)  # both clients are connected
        port = sentinels.primary.port
        await wait_until(
            lambda: sentinels.replica.ask("EXISTS", f"{key_prefix(namespace)}run:{message.run_id}"), "a copy"
        )
        sentinels.primary.kill()
        await wait_until(lambda: sentinels.now_primary() != port, "a failover", 30)
        await works_again(store)
        assert await settle(store, held)
        assert (await state(store, message.run_id)).state.settled
    finally:
        await store.close()


async def test_a_planned_failover_under_a_waiting_consumer(sentinels: Watched, namespace: str) -> None:
    url = sentinels.url
    publisher, consumer = RedisPublisher(url, namespace, LIMIT), RedisConsumer(url, namespace, LIMIT, "w1")
    try:
        await consumer.receive(1, timedelta(0))
        waiting = asyncio.create_task(_received(consumer))
        await wait_until(lambda: sentinels.primary.ask("INFO", "clients")["blocked_clients"] == 1, "it to wait")
        sentinels.fail_over()
        await wait_until(lambda: sentinels.now_primary() == sentinels.replica.port, "a failover", 30)

        async def published() -> bool:
            try:
                await publisher.publish([Message(job="backup", run_id="r1")])
            except QueueUnavailable:
                return False
            return True

        await wait_until(published, "the queue to be back", 30)
        assert await asyncio.wait_for(waiting, 30) == "r1"
    finally:
        await consumer.close()
        await publisher.close()


async def test_a_primary_that_was_replaced_alive_is_left_before_it_notices(sentinels: Watched, namespace: str) -> None:
    url, key = sentinels.url, key_prefix(namespace)
    client = open_client(url, RedisAccess(), key, timeout_seconds=5)
    blocking = open_blocking_client(url, RedisAccess(), key, timeout_seconds=5)
    try:
        await client.set(f"{key}first", 1)
        await asyncio.to_thread(blocking.ping)
        sentinels.fail_over()
        replica = sentinels.replica
        await wait_until(lambda: sentinels.now_primary() == replica.port, "a failover", 30)

        async def there(name: str, asked: bool) -> bool:
            await (client.set(key + name, 1) if asked else asyncio.to_thread(blocking.set, key + name, 1))
            return bool(replica.ask("EXISTS", key + name))

        await wait_until(lambda: there("second", True), "a write at the new primary", 4)
        await wait_until(lambda: there("third", False), "a write from a thread at the new primary", 4)
        assert sentinels.primary.ask("ROLE")[0] == "master", "it noticed before: this proves nothing"
    finally:
        await client.aclose()
        await asyncio.to_thread(blocking.close)


async def test_no_sentinel_is_needed_while_nothing_happens(sentinels: Watched, namespace: str) -> None:
    store = store_at(sentinels.url, namespace)
    try:
        await send(store, new())
        for one in sentinels.sentinels:
            one.kill()
        since = monotonic()
        await wait_until(lambda: _sent_after(store, since), "a check that nobody answers", 10)
    finally:
        await store.close()


async def _sent_after(store: RedisStore, since: float) -> bool:
    await send(store, new())
    return monotonic() - since > CHECK_SECONDS


async def _received(consumer: RedisConsumer) -> str:
    while True:
        try:
            found = await consumer.receive(1, timedelta(seconds=2))
        except QueueUnavailable:
            await asyncio.sleep(0.05)
            continue
        if found and found[0].message:
            await consumer.ack(found)
            return found[0].message.run_id


async def test_a_connection_to_a_demoted_primary_is_given_up(lone: Server, tmp_path: Path, namespace: str) -> None:
    with server(tmp_path / "other") as other:
        store = store_at(lone.url, namespace)
        try:
            await send(store, new())
            lone.ask("REPLICAOF", LOOPBACK, other.port)
            made = lone.ask("INFO", "stats")["total_connections_received"]
            with pytest.raises(StoreUnavailable, match="read only replica"):
                await send(store, new())
            # One connection for this question, and one because the client reconnected: the primary may have moved.
            assert lone.ask("INFO", "stats")["total_connections_received"] >= made + 2
            lone.ask("REPLICAOF", "NO", "ONE")
            await works_again(store)
        finally:
            await store.close()


async def test_a_slot_that_moves_is_followed_and_not_entered_halfway(nodes: Cluster, namespace: str) -> None:
    store = store_at(nodes.url, namespace)
    key = key_prefix(namespace)
    source = nodes.owner(key)
    target = next(node for node in nodes.nodes if node is not source)
    names = {node.port: node.ask("CLUSTER", "MYID") for node in nodes.nodes}
    slot = source.ask("CLUSTER", "KEYSLOT", key)
    try:
        [message] = await send(store, new())
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", names[source.port])
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", names[target.port])
        with pytest.raises(StoreUnavailable, match="is moving the slot"):
            await claim(store, message)
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        source.ask("MIGRATE", LOOPBACK, target.port, "", 0, 5000, "KEYS", *keys)
        for node in (target, source, *(node for node in nodes.nodes if node not in (source, target))):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", names[target.port])
        await works_again(store)
        assert await settle(store, await claim(store, message))
        assert not source.ask("CLUSTER", "COUNTKEYSINSLOT", slot)
    finally:
        await store.close()


async def test_a_node_that_comes_back_is_found_again(nodes: Cluster, namespace: str) -> None:
    store = store_at(nodes.url, namespace)
    owner = nodes.owner(key_prefix(namespace))
    try:
        await send(store, new())
        owner.kill()
        with pytest.raises(StoreUnavailable):
            await send(store, new())
        owner.start()
        await works_again(store)
    finally:
        await store.close()


async def test_the_address_of_one_node_is_refused_with_the_way_out(nodes: Cluster, namespace: str) -> None:
    owner = nodes.owner(key_prefix(namespace))
    other = next(node for node in nodes.nodes if node is not owner)
    store = store_at(other.url, namespace)
    try:
        with pytest.raises(StoreUnavailable, match=r"use redis\+cluster://"):
            await store.check()
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [("appendonly", "no", "append-only"), ("maxmemory-policy", "allkeys-lru", "evicts keys")],
)
async def test_every_primary_of_a_cluster_must_be_safe(
    nodes: Cluster, namespace: str, setting: str, value: str, says: str
) -> None:
    bad = next(node for node in nodes.nodes if node is not nodes.owner(key_prefix(namespace)))
    bad.ask("CONFIG", "SET", setting, value, "maxmemory", "100mb")
    store = store_at(nodes.url, namespace)
    try:
        with pytest.raises(UnsafeStore, match=says) as refused:
            await send(store, new())
        assert f"{LOOPBACK}:{bad.port}" in refused.value.message
    finally:
        await store.close()


async def test_a_replica_that_takes_over_must_be_safe(sentinels: Watched, namespace: str) -> None:
    sentinels.replica.ask("CONFIG", "SET", "appendonly", "no")
    store = store_at(sentinels.url, namespace)
    try:
        await send(store, new())
        sentinels.primary.kill()

        async def refused() -> str:
            try:
                await send(store, new())
            except UnsafeStore as error:
                return error.message
            except HoraeError:
                pass
            return ""

        said = await wait_until(refused, "the new primary to be refused", 30)
        assert f"{LOOPBACK}:{sentinels.replica.port}" in said
    finally:
        await store.close()


async def test_replicas_are_counted_and_can_be_waited_for(sentinels: Watched, lone: Server, namespace: str) -> None:
    key = key_prefix(namespace)
    for url, count in ((sentinels.url, 1), (lone.url, 0)):
        client = open_client(url, RedisAccess(), key, timeout_seconds=5)
        try:
            assert await replicas(client) == count
            # One connection, because WAIT covers only writes of its own connection.
            async with client.pipeline(transaction=False) as pipe:
                pipe.set(f"{key}waited", 1)
                pipe.wait(count, 5000)
                assert await pipe.execute() == [True, count]
        finally:
            await client.aclose()
    assert sentinels.replica.ask("GET", f"{key}waited") == "1"


async def test_what_is_accepted_and_claimed_is_at_a_replica_too(sentinels: Watched, namespace: str) -> None:
    store, replica = store_at(sentinels.url, namespace), sentinels.replica
    try:
        for _ in range(20):
            [message] = await send(store, new())
            key = f"{key_prefix(namespace)}run:{message.run_id}"
            assert replica.ask("HGET", key, "job"), "it was there when accept returned"
            held = await claim(store, message)
            assert replica.ask("HGET", key, "token") == str(held.token), "so was the claim, before any acknowledgement"
    finally:
        await store.close()


async def test_a_replica_that_does_not_keep_up_holds_nothing_up_for_long(
    sentinels: Watched, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_at(sentinels.url, namespace)
    try:
        await send(store, new())
        with sentinels.replica.suspended():
            [message] = await send(store, new())
            assert (await claim(store, message)).token
        assert "no replica has confirmed a write" in caplog.text
    finally:
        await store.close()


async def test_what_was_accepted_before_the_store_came_back_is_marked_at_least_once(
    tmp_path: Path, namespace: str
) -> None:
    with server(tmp_path / "restarted", "--appendfsync", "always") as restarted:
        store = store_at(restarted.url, namespace)
        try:
            begun, waiting = await send(store, new(), new())
            held = await claim(store, begun)
            restarted.kill()
            restarted.start()
            assert (await claim(store, waiting)).token
            [later] = await send(store, new())
            assert (await claim(store, later)).token
            stories = [await state(store, message.run_id) for message in (begun, waiting, later)]
            marked = ["at least once" in [event.what for event in run.story] for run in stories]
            assert marked == [False, True, False], "what began before is as it was; what may have begun unseen is told"
            assert await settle(store, held)
        finally:
            await store.close()


async def test_what_is_accepted_after_a_clean_restart_has_no_gap_behind_it(tmp_path: Path, namespace: str) -> None:
    """The gap ends when the server is up again, not with the first claim."""
    with server(tmp_path / "restarted", "--appendfsync", "always") as restarted:
        store = store_at(restarted.url, namespace)
        try:
            await claim(store, (await send(store, new()))[0])
            restarted.kill()
            restarted.start()
            began = await wait_until(store.now, "the store", 10)

            async def a_second_later() -> bool:  # the server counts its uptime in whole seconds
                return await store.now() > began + timedelta(seconds=1.5)

            await wait_until(a_second_later, "a second of uptime")
            [message] = await send(store, new())
            assert (await claim(store, message)).token
            assert "at least once" not in [event.what for event in (await state(store, message.run_id)).story]
        finally:
            await store.close()


async def test_tokens_do_not_go_backwards_when_claims_were_lost(tmp_path: Path, namespace: str) -> None:
    """A server that restarts without its last claims, like a replica that became the primary."""
    with server(tmp_path / "first") as first, server(tmp_path / "second") as second:
        tokens = []
        for one in (first, second):
            store = store_at(one.url, namespace)
            if one is second:  # the replica has the server's name, and none of the later tokens
                second.ask("SET", f"{key_prefix(namespace)}server", "another")
            for _ in range(3):
                [message] = await send(store, new())
                held = await claim(store, message)
                tokens.append(held.token)
                assert (await claim(store, message)).answer is not Answer.RUN
                assert await settle(store, held), "a token that large is compared digit by digit"
            await store.close()
    assert tokens == sorted(set(tokens))
    assert tokens[3] > to_millis(now()) * 1000, "beyond what counting can have reached by a clock that is ahead"


async def test_tokens_do_not_go_backwards_when_their_counter_is_lost(lone: Server, namespace: str) -> None:
    store, tokens = store_at(lone.url, namespace), []
    try:
        for _ in range(3):
            [message] = await send(store, new())
            tokens.append((await claim(store, message)).token)
            lone.ask("DEL", f"{key_prefix(namespace)}token")
    finally:
        await store.close()
    assert tokens == sorted(set(tokens))


async def test_the_first_write_after_a_replica_came_waits_for_it(tmp_path: Path, namespace: str) -> None:
    with server(tmp_path / "primary") as primary, server(tmp_path / "replica") as replica:
        store = store_at(primary.url, namespace)
        try:
            await send(store, new())
            replica.ask("REPLICAOF", LOOPBACK, primary.port)
            await wait_until(lambda: replica.ask("ROLE")[3] == "connected", "the replica", 20)
            [message] = await send(store, new())
            assert replica.ask("EXISTS", f"{key_prefix(namespace)}run:{message.run_id}") == 1
        finally:
            await store.close()
