"""NATS JetStream: one work-queue stream, a durable pull consumer for each priority.

A message is deleted when it is acknowledged. The client is nats-py, and of it only the core connection: its `fetch`
stalls (nats.py#986) and its pull subscriptions are lost when the server restarts (nats.py#504), and nats-jetstream 0.3
is a beta. The pull protocol itself is three requests in JSON. A connection that ends is not mended: the next step opens
another, reads the files of credentials again, and looks whether stream and consumers are as they have to be.
"""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message, Priority
from horae.queues.base import Backlog, Capabilities, Delivery, Ordering, Provider
from horae.queues.decoding import delivery_of
from horae.queues.priorities import wheel
from horae.settings import Settings
from horae.settings.tables import Table
from horae.urls import shown

CONNECT_SECONDS = 2
TIMEOUT_SECONDS = 5.0
ACK_WAIT = timedelta(seconds=5)
"""A worker claims and acknowledges within a moment; a longer silence means that it died in between."""
DUPLICATES = timedelta(minutes=2)
AT_ONCE = 500
"""Publishes that wait for their acknowledgement together."""
NANOSECONDS = 1_000_000_000
API = "$JS.API"


class NatsSettings(Table):
    """`[queue.nats]`."""

    url: SecretStr | None = None
    """nats://HOST:4222 or tls://HOST:4222; several, separated by commas, for a cluster. Default: none."""
    username: str | None = None
    """User of that server. Default: none."""
    password: SecretStr | None = None
    """The user's password. Default: none."""
    password_file: Path | None = None
    """File with that password, read at each new connection. Relative to the project. Default: none."""
    token_file: Path | None = None
    """File with a token, read at each new connection. Relative to the project. Default: none."""
    credentials_file: Path | None = None
    """File with a JWT and its key (.creds). Relative to the project. Default: none."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) that the server's is checked against. Relative to the project. Default: the system's."""
    tls_cert_file: Path | None = None
    """Certificate (PEM) that is shown to the server. Relative to the project. Default: none."""
    tls_key_file: Path | None = None
    """Key (PEM) of that certificate. Relative to the project. Default: it is in the same file."""
    replicas: int = Field(1, ge=1, le=5)
    """Copies of the stream that a cluster keeps. It is used when the stream is made."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        addresses = self.url.get_secret_value().split(",") if self.url else []
        for address in addresses:
            parts = urlsplit(address.strip())
            if parts.scheme not in ("nats", "tls") or not parts.hostname:
                raise ValueError("url: an address begins with nats:// or tls:// and names a host")
        if self.username and not (self.password or self.password_file):
            raise ValueError("username needs password or password_file")
        return self


FILES = ("password_file", "token_file", "credentials_file", "tls_ca_file", "tls_cert_file", "tls_key_file")


def _below(table: NatsSettings, project: Path) -> NatsSettings:
    """The same with its files as full paths."""
    given = {name: getattr(table, name) for name in FILES}
    return table.model_copy(update={name: project / path for name, path in given.items() if path})


def _addresses(table: NatsSettings) -> list[str]:
    return [part.strip() for part in table.url.get_secret_value().split(",")] if table.url else []


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
        self.url = ",".join(map(shown, _addresses(table)))
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
        if table.username:
            options |= {"user": table.username, "password": _secret(table.password_file, table.password)}
        if table.token_file:
            options["token"] = table.token_file.read_text().strip()
        if table.credentials_file:
            options["user_credentials"] = str(table.credentials_file)
        if table.tls_ca_file or table.tls_cert_file or any(url.startswith("tls:") for url in _addresses(table)):
            options["tls"] = _tls(table)
        client = Client()
        try:
            await client.connect(
                _addresses(table),
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
                    f"NATS at {self.url} has no JetStream for this account; start it with -js, or enable it there"
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
                    f"the stream {self.stream} on NATS at {self.url} has {key} {found['config'].get(key)!r} and has to "
                    f"have {wanted[key]!r}: it could lose what it accepted. Correct it: nats stream edit {self.stream}"
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


def _secret(file: Path | None, given: SecretStr | None) -> str:
    return file.read_text().strip() if file else given.get_secret_value() if given else ""


def _tls(table: NatsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(table.tls_ca_file) if table.tls_ca_file else None)
    if table.tls_cert_file:
        context.load_cert_chain(str(table.tls_cert_file), str(table.tls_key_file) if table.tls_key_file else None)
    return context


class NatsPublisher:
    def __init__(self, table: NatsSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._limit_bytes = Link(table, namespace), limit_bytes

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(message, message.encode(self._limit_bytes)) for message in messages]
        client = await self._link.client()
        for start in range(0, len(bodies), AT_ONCE):
            await asyncio.gather(*(self._publish(client, *one) for one in bodies[start : start + AT_ONCE]))

    async def _publish(self, client: Any, message: Message, body: bytes) -> None:
        # The run's id alone would swallow its retry, while the server remembers the first message.
        headers = {"Nats-Msg-Id": f"{message.run_id}:{message.generation}"}
        with translated(self._link.url):
            said = await client.request(
                self._link.subject(message.priority), body, timeout=TIMEOUT_SECONDS, headers=headers
            )
        answer = json.loads(said.data)
        if "error" in answer:
            raise QueueUnavailable(f"NATS at {self._link.url} takes no message: {answer['error'].get('description')}")

    async def check(self) -> None:
        await self._link.client()
        await self._link.ask(f"STREAM.INFO.{self._link.stream}")

    async def backlog(self) -> Backlog:
        await self._link.client()
        said = await self._link.ask(f"STREAM.INFO.{self._link.stream}")
        state = said["state"]
        if not state["messages"]:
            return Backlog(messages=0)
        age = datetime.fromisoformat(said["ts"]) - datetime.fromisoformat(state["first_ts"])
        return Backlog(messages=state["messages"], oldest=max(age, timedelta(0)))

    async def close(self) -> None:
        await self._link.close()


class Pull:
    """The requests of one priority, and what came for them."""

    def __init__(self, link: Link, priority: Priority, arrived: asyncio.Queue[Any]) -> None:
        self._link, self._priority, self._arrived = link, priority, arrived
        self._subject = f"{API}.CONSUMER.MSG.NEXT.{link.stream}.{priority.value}"
        self._inbox = ""
        self.ended = asyncio.Event()
        """The server said that the last request is done."""
        self.open = 0
        """Messages that were asked for and did not come yet."""

    async def begin(self, client: Any) -> None:
        self._inbox, self.open = client.new_inbox(), 0
        await client.subscribe(self._inbox, cb=self._heard)

    async def _heard(self, message: Any) -> None:
        status = (message.headers or {}).get("Status") if message.headers else None
        if status:
            self.open = 0
            self.ended.set()
            self._arrived.put_nowait(None)  # whoever waits looks again
            return
        self.open = max(0, self.open - 1)
        self._arrived.put_nowait(message)
        if not self.open:
            self.ended.set()

    async def ask(self, client: Any, count: int, wait: timedelta) -> None:
        """Without a wait the server answers at once, and says when there is nothing more."""
        request: dict[str, Any] = {"batch": count}
        if wait:
            request["expires"] = int(wait.total_seconds() * NANOSECONDS)
        else:
            request["no_wait"] = True
        self.open += count
        self.ended.clear()
        with translated(self._link.url):
            await client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)


class NatsConsumer:
    def __init__(self, table: NatsSettings, namespace: str, limit_bytes: int) -> None:
        self._link, self._limit_bytes = Link(table, namespace), limit_bytes
        self._arrived: asyncio.Queue[Any] = asyncio.Queue()
        self._pulls = {priority: Pull(self._link, priority, self._arrived) for priority in Priority}
        self._spare: deque[Delivery] = deque()
        self._wheel = wheel()
        self._connection = 0

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        if limit <= 0:
            return []
        client = await self._ready()
        self._collect()
        if not self._spare:
            for priority in next(self._wheel):
                missing = limit - len(self._spare)
                if missing > 0:
                    await self._pull(client, self._pulls[priority], missing)
        if not self._spare and wait:
            await self._wait(client, wait)
        return [self._spare.popleft() for _ in range(min(limit, len(self._spare)))]

    async def _ready(self) -> Any:
        client = await self._link.client()
        if self._connection != self._link.opened:
            self._arrived = asyncio.Queue()
            for pull in self._pulls.values():
                pull._arrived = self._arrived
                with translated(self._link.url):
                    await pull.begin(client)
            self._connection = self._link.opened
        return client

    async def _pull(self, client: Any, pull: Pull, count: int) -> None:
        await pull.ask(client, count, timedelta(0))
        try:
            await asyncio.wait_for(pull.ended.wait(), TIMEOUT_SECONDS)
        except TimeoutError as error:
            raise QueueUnavailable(f"the queue at {self._link.url} does not answer") from error
        self._collect()

    async def _wait(self, client: Any, wait: timedelta) -> None:
        """For the first message of any priority. What comes later for the others is handed out by later calls."""
        for pull in self._pulls.values():
            if not pull.open:
                await pull.ask(client, 1, wait)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait.total_seconds()
        while not self._spare and (left := deadline - loop.time()) > 0:
            if not client.is_connected:
                raise QueueUnavailable(f"the queue at {self._link.url} is gone")
            with suppress(TimeoutError):
                self._keep(await asyncio.wait_for(self._arrived.get(), min(left, 0.25)))
        self._collect()

    def _collect(self) -> None:
        while not self._arrived.empty():
            self._keep(self._arrived.get_nowait())

    def _keep(self, message: Any) -> None:
        if message is not None:
            self._spare.append(delivery_of(message.data, self._limit_bytes, message.reply))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        client = await self._link.client()
        with translated(self._link.url):
            for delivery in deliveries:
                await client.publish(delivery.receipt, b"+ACK")
            await client.flush(int(TIMEOUT_SECONDS))

    async def close(self) -> None:
        await self._link.close()


def _missing(settings: Settings, table: NatsSettings) -> str:
    return "" if table.url else "queue.nats.url"


def _open_publisher(settings: Settings, table: NatsSettings) -> NatsPublisher:
    import nats  # noqa: F401 - a missing library is told now

    return NatsPublisher(_below(table, settings.project), settings.namespace, settings.queue.message_limit_bytes)


def _open_consumer(settings: Settings, table: NatsSettings, worker: str) -> NatsConsumer:
    return NatsConsumer(_below(table, settings.project), settings.namespace, settings.queue.message_limit_bytes)


PROVIDER = Provider(
    name="nats",
    title="NATS JetStream",
    use_when="Cloud-native, durable",
    settings=NatsSettings,
    capabilities=Capabilities(
        # The stream has no max_age: a message stays until a worker acknowledges it.
        redelivers_for=timedelta(days=1),
        native_schedules="2.14",
        priorities=True,
        ordering=Ordering.PRIORITY,
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=_open_consumer,
    backlog=NatsPublisher.backlog,
    extra="nats",
)
