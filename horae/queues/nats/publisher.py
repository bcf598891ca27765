"""Publishes to the stream; each message is acknowledged by the server before `publish` returns."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message
from horae.queues.base import Backlog
from horae.queues.nats.link import TIMEOUT_SECONDS, Link, translated
from horae.queues.nats.settings import NatsSettings

NO_STREAM = 10059
"""The error code of JetStream for a stream that does not exist."""
AT_ONCE = 500
"""Publishes that wait for their acknowledgement together."""


class NatsPublisher:
    def __init__(self, table: NatsSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._limit_bytes = Link(table, namespace), limit_bytes

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(message, message.encode(self._limit_bytes)) for message in messages]
        client = await self._link.client()
        try:
            for start in range(0, len(bodies), AT_ONCE):
                await asyncio.gather(*(self._publish(client, *one) for one in bodies[start : start + AT_ONCE]))
        except QueueUnavailable:
            # The stream may have been deleted: the next step connects again and declares it.
            await self._link.close()
            raise

    async def _publish(self, client: Any, message: Message, body: bytes) -> None:
        # The run's id alone would swallow its retry, while the server remembers the first message.
        headers = {"Nats-Msg-Id": message.delivery_id}
        with translated(self._link.url):
            said = await client.request(
                self._link.subject(message.priority), body, timeout=TIMEOUT_SECONDS, headers=headers
            )
        answer = json.loads(said.data)
        if "error" in answer:
            raise QueueUnavailable(f"NATS at {self._link.url} refuses a message: {answer['error'].get('description')}")

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
