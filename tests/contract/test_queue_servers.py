"""Providers whose server is killed and started again, or refuses the credentials."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import psutil
import pytest

from horae.errors import QueueUnavailable
from horae.queues.closing import close_all
from tests.contract.brokers import (
    MOMENT,
    PASSWORD,
    QUOTED,
    Server,
    messages,
    receive_all,
)
from tests.waiting import wait_until


def connections() -> set[tuple[Any, Any]]:
    """Those of this process."""
    found = psutil.Process().net_connections("tcp")
    return {(one.laddr, one.raddr) for one in found if one.status == psutil.CONN_ESTABLISHED}


@pytest.fixture(autouse=True)
def polled(server: Server) -> None:
    """The emulator of Cloud Tasks forgets its tasks when it ends, and a broker that calls is not seen to be away."""
    if server.broker.calls:
        pytest.skip(f"{server.broker.configured.name} calls the worker; test_receiver.py has what it does when away")


class TestServers:
    """A server that the test may kill and start again, and settings with credentials that it refuses."""

    async def test_what_was_published_is_there_after_a_restart(self, server: Server) -> None:
        sent = messages(20)
        await server.broker.publisher.publish(sent)
        server.kill()
        server.start()
        found = await receive_all(server.broker.consumer("w1"), 20)
        assert {one.message.run_id for one in found if one.message} == {one.run_id for one in sent}

    async def test_what_was_received_and_not_acknowledged_comes_again(self, server: Server) -> None:
        await server.broker.publisher.publish(messages(4))
        first = server.broker.consumer("w1")
        found = await receive_all(first, 4)
        await first.ack(found[:2])
        server.kill()
        server.start()
        other = server.broker.consumer("w2")
        left: set[str] = set()

        async def all_left() -> bool:
            left.update(one.message.run_id for one in await other.receive(5, MOMENT) if one.message)
            return wanted <= left  # a broker that is killed may forget an acknowledgement; the claim discards the copy

        wanted = {one.message.run_id for one in found[2:] if one.message}
        await wait_until(all_left, "the two that were not acknowledged")

    async def test_publisher_and_consumer_say_that_it_is_away_and_go_on_by_themselves(self, server: Server) -> None:
        publisher, consumer = server.broker.publisher, server.broker.consumer("w1")
        await publisher.publish(messages(1))
        await consumer.ack(await receive_all(consumer, 1))
        server.kill()
        with pytest.raises(QueueUnavailable):
            await publisher.check()
        with pytest.raises(QueueUnavailable):
            await publisher.publish(messages(1))
        with pytest.raises(QueueUnavailable):
            await consumer.receive(1, MOMENT)
        server.start()
        await publisher.check()
        await publisher.publish(messages(2))
        await consumer.ack(await receive_all(consumer, 2))

    async def test_a_receive_that_waits_hears_that_it_is_gone(self, server: Server) -> None:
        waiting = asyncio.create_task(server.broker.consumer("w1").receive(1, timedelta(seconds=60)))
        await asyncio.wait([waiting], timeout=MOMENT.total_seconds())
        server.kill()
        with pytest.raises(QueueUnavailable):
            await asyncio.wait_for(waiting, 10)
        server.start()

    async def test_acknowledging_while_it_is_away_says_so(self, server: Server) -> None:
        await server.broker.publisher.publish(messages(1))
        consumer = server.broker.consumer("w1")
        found = await receive_all(consumer, 1)
        server.kill()
        with pytest.raises(QueueUnavailable):
            await consumer.ack(found)
        server.start()

    async def test_closing_while_it_does_not_answer_leaves_no_connection_open(self, server: Server) -> None:
        before, consumer = connections(), server.broker.consumer("w1")
        await server.broker.publisher.publish(messages(1))
        await consumer.ack(await receive_all(consumer, 1))
        assert connections() - before
        server.send(signal.SIGSTOP)
        try:
            await close_all([server.broker.publisher, consumer])
            await wait_until(lambda: not connections() - before, "the connections to be closed")
        finally:
            server.send(signal.SIGCONT)

    async def test_refused_credentials_are_told_without_them(self, server: Server) -> None:
        publisher, consumer = server.refused.publisher, server.refused.consumer("w1")
        steps: list[Callable[[], Awaitable[object]]] = [
            publisher.check,
            lambda: publisher.publish(messages(1)),
            lambda: consumer.receive(1, MOMENT),
        ]
        for step in steps:
            with pytest.raises(QueueUnavailable, match="refuses these credentials") as told:
                await step()
            assert PASSWORD not in str(told.value)
            assert QUOTED not in str(told.value)
