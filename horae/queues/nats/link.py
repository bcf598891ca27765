"""The connection to NATS, and the stream with its consumers."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Priority
from horae.queues.nats.settings import NatsSettings, addresses
from horae.urls import shown

CONNECT_SECONDS = 2
TIMEOUT_SECONDS = 5.0
ACK_WAIT = timedelta(seconds=5)
"""A worker claims and acknowledges within a moment; a longer silence means that it died in between."""
DUPLICATES = timedelta(minutes=2)
NANOSECONDS = 1_000_000_000
API = "$JS.API"


@contextmanager
def translated(url: str) -> Iterator[None]:
    from nats import errors

    try:
        yield
    except (errors.AuthorizationError, errors.SecureConnRequiredError) as error:
        raise QueueUnavailable(f"the queue at {url} refuses these credentials: {error}") from error
    except (errors.Error, OSError, TimeoutError) as error:
        refused = "authorization" in str(error).lower()
        what = "refuses these credentials" if refused else "does not answer"
        raise QueueUnavailable(f"the queue at {url} {what}: {str(error) or type(error).__name__}") from error


class Link:
    """A connection and the stream behind it. It is opened when it is needed, and again once it has ended."""

    def __init__(self, table: NatsSettings, namespace: str) -> None:
        self._table, self.stream = table, f"{namespace}-queue"
        self._namespace = namespace
        self.url = ",".join(map(shown, addresses(table)))
        self._client: Any = None
        self._opening = asyncio.Lock()
        self.opened = 0
        """How many connections there were."""

    def subject(self, priority: Priority) -> str:
        return f"{self._namespace}.queue.{priority.value}"

    async def client(self) -> Any:
        """A client that is connected; raises QueueUnavailable or QueueError."""
        async with self._opening:
            if self._client is None or not self._client.is_connected:
                await self._end()
                with translated(self.url):
                    self._client = await asyncio.wait_for(self._connect(), TIMEOUT_SECONDS)
                self.opened += 1
                await self._declare()
            return self._client

    async def _connect(self) -> Any:
        from nats.aio.client import Client

        table = self._table
        options: dict[str, Any] = {}
        if login := table.login():
            options |= dict(zip(("user", "password"), login, strict=True))
        if table.token_file:
            options["token"] = table.token_file.read_text().strip()
        if table.credentials_file:
            options["user_credentials"] = str(table.credentials_file)
        if table.tls_given or any(url.startswith("tls:") for url in addresses(table)):
            options["tls"] = table.tls_context()
        client = Client()
        try:
            await client.connect(
                addresses(table),
                connect_timeout=CONNECT_SECONDS,
                allow_reconnect=False,
                max_reconnect_attempts=0,
                error_cb=_told_elsewhere,
                **options,
            )
        except BaseException:
            await client.close()  # it leaves its socket open when it is refused
            raise
        return client

    async def ask(self, subject: str, **request: Any) -> dict[str, Any]:
        """What JetStream answers; raises QueueError for what it refuses."""
        answer = await self.try_to_ask(subject, **request)
        if "error" in answer:
            raise QueueError(f"NATS at {self.url}: {subject}: {answer['error'].get('description', answer['error'])}")
        return answer

    async def try_to_ask(self, subject: str, **request: Any) -> dict[str, Any]:
        from nats.errors import NoRespondersError

        try:
            with translated(self.url):
                said = await self._client.request(
                    f"{API}.{subject}", json.dumps(request).encode() if request else b"", timeout=TIMEOUT_SECONDS
                )
        except QueueUnavailable as error:
            if isinstance(error.__cause__, NoRespondersError):
                raise QueueUnavailable(
                    f"NATS at {self.url} has no JetStream for this account; start the server with -js, or enable "
                    "JetStream for the account"
                ) from error
            raise
        found: dict[str, Any] = json.loads(said.data)
        return found

    async def _declare(self) -> None:
        """The stream and its consumers, made where they are missing; raises QueueError where they are not as needed."""
        wanted = {
            "name": self.stream,
            "subjects": [f"{self._namespace}.queue.*"],
            "retention": "workqueue",
            "storage": "file",
            "discard": "new",
            "max_age": 0,
            "num_replicas": self._table.replicas,
            "duplicate_window": int(DUPLICATES.total_seconds() * NANOSECONDS),
        }
        found = await self.try_to_ask(f"STREAM.INFO.{self.stream}")
        if "error" in found:
            found = await self.ask(f"STREAM.CREATE.{self.stream}", **wanted)
        for key in ("retention", "discard", "max_age", "storage"):
            if found["config"].get(key, 0) != wanted[key]:
                raise QueueError(
                    f"the stream {self.stream} on NATS at {self.url} has {key} {found['config'].get(key)!r}. "
                    f"Required: {wanted[key]!r}. Otherwise NATS can lose accepted messages. Correct it: nats stream "
                    f"edit {self.stream}"
                )
        for priority in Priority:
            await self._declare_consumer(priority)

    async def _declare_consumer(self, priority: Priority) -> None:
        await self.ask(
            f"CONSUMER.DURABLE.CREATE.{self.stream}.{priority.value}",
            stream_name=self.stream,
            config={
                "durable_name": priority.value,
                "filter_subject": self.subject(priority),
                "ack_policy": "explicit",
                "ack_wait": int(ACK_WAIT.total_seconds() * NANOSECONDS),
                "max_deliver": -1,
                "max_ack_pending": -1,
                "deliver_policy": "all",
            },
        )

    async def _end(self) -> None:
        if self._client is not None:
            with suppress(Exception):  # it is of no use any more, whatever it says
                await asyncio.wait_for(self._client.close(), CONNECT_SECONDS)
            self._client = None

    async def close(self) -> None:
        await self._end()


async def _told_elsewhere(error: Exception) -> None:
    """Every step of ours hears of its own error; the client's background need not log it."""
