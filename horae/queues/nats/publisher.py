"""Publishes to the stream. The server acknowledges each message before `publish` returns."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message
from horae.queues.base import Backlog
from horae.queues.nats.link import TIMEOUT_SECONDS, Link, translated
from horae.queues.nats.settings import NatsSettings

NO_STREAM = 10059
"""The error code of JetStream for a stream that does not exist."""
AT_ONCE = 500
"""The most publishes that wait for their acknowledgement together."""


class Answers:
    """What the server answered to messages that were published together."""

    def __init__(self, expected: int) -> None:
        self._expected, self._found = expected, list[Any]()
        self._complete = asyncio.Event()

    def add(self, answer: Any) -> None:
        self._found.append(answer)
        if len(self._found) >= self._expected:
            self._complete.set()

    async def all(self) -> list[Any]:
        await asyncio.wait_for(self._complete.wait(), TIMEOUT_SECONDS)
        return self._found


class Inbox:
    """The answers on one connection. Messages that are published together have one reply subject: a request for each
    message costs twice as much CPU.
    """

    def __init__(self, client: Any) -> None:
        self.client, self._subject = client, client.new_inbox()
        self._expected: dict[str, Answers] = {}
        self._calls = count()

    async def begin(self) -> None:
        await self.client.subscribe(f"{self._subject}.*", cb=self._heard)

    @contextmanager
    def expecting(self, messages: int) -> Iterator[tuple[str, Answers]]:
        """The reply subject for so many messages, and their answers."""
        subject, answers = f"{self._subject}.{next(self._calls)}", Answers(messages)
        self._expected[subject] = answers
        try:
            yield subject, answers
        finally:
            del self._expected[subject]

    async def _heard(self, answer: Any) -> None:
        if answers := self._expected.get(answer.subject):
            answers.add(answer)


class NatsPublisher:
    def __init__(self, table: NatsSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._limit_bytes = Link(table, namespace), limit_bytes
        self._inbox: Inbox | None = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(message, message.encode(self._limit_bytes)) for message in messages]
        inbox = await self._opened()
        try:
            for start in range(0, len(bodies), AT_ONCE):
                await self._publish(inbox, bodies[start : start + AT_ONCE])
        except QueueUnavailable:
            # The stream may have been deleted: the next step connects again and declares it.
            await self._link.close()
            raise

    async def _opened(self) -> Inbox:
        async with self._opening:
            client = await self._link.client()
            if self._inbox is None or self._inbox.client is not client:
                inbox = Inbox(client)
                with translated(self._link.url):
                    await inbox.begin()
                self._inbox = inbox
            return self._inbox

    async def _publish(self, inbox: Inbox, bodies: Sequence[tuple[Message, bytes]]) -> None:
        with translated(self._link.url), inbox.expecting(len(bodies)) as (reply, answers):
            for message, body in bodies:
                # With only the run's id, the server would drop the message of a retry while it remembers the first one.
                headers = {"Nats-Msg-Id": message.delivery_id}
                await inbox.client.publish(self._link.subject(message.priority), body, reply=reply, headers=headers)
            found = await answers.all()
        for answer in found:
            self._accepted(answer)

    def _accepted(self, answer: Any) -> None:
        """Raises QueueUnavailable if the server did not store the message."""
        if not answer.data:  # the status "no responders"
            raise QueueUnavailable(f"the queue at {self._link.url} does not answer: no stream takes the message")
        said = json.loads(answer.data)
        if "error" in said:
            raise QueueUnavailable(f"NATS at {self._link.url} refuses a message: {said['error'].get('description')}")

    async def check(self) -> None:
        await self._link.client()
        await self._link.ask(f"STREAM.INFO.{self._link.stream}")

    async def backlog(self) -> Backlog:
        await self._link.client()
        said = await self._link.try_to_ask(f"STREAM.INFO.{self._link.stream}")
        if "error" in said:
            await self._link.close()  # the next step connects again and declares the stream
            if said["error"].get("err_code") == NO_STREAM:
                return Backlog(messages=0)
            raise QueueError(f"NATS at {self._link.url}: {said['error'].get('description', said['error'])}")
        state = said["state"]
        if not state["messages"]:
            return Backlog(messages=0)
        age = datetime.fromisoformat(said["ts"]) - datetime.fromisoformat(state["first_ts"])
        return Backlog(messages=state["messages"], oldest=max(age, timedelta(0)))

    async def close(self) -> None:
        await self._link.close()
