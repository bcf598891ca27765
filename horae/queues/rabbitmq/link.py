"""A connection to RabbitMQ with one channel, and the queues behind it."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import aio_pika
from aio_pika import exceptions as amqp
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Priority
from horae.queues.rabbitmq import RabbitSettings
from horae.urls import shown, without_login

CONNECT_SECONDS = 3.0
TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS = 2.0
UNLIMITED_FROM = 4
"""Servers from this version on drop a message after 20 deliveries, unless its queue says otherwise."""


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Errors of the client as errors of ours."""
    try:
        yield
    except (amqp.AuthenticationError, amqp.ProbableAuthenticationError) as error:
        raise QueueUnavailable(f"the queue at {url} refuses these credentials: {_text(error)}") from error
    except (ChannelAccessRefused, ConnectionNotAllowed) as error:
        raise QueueUnavailable(
            f"the queue at {url} refuses this user: {_text(error)}. Give the user rights on the virtual host and "
            "its queues: rabbitmqctl set_permissions -p VHOST USER '.*' '.*' '.*'"
        ) from error
    except amqp.ChannelPreconditionFailed as error:
        raise QueueError(f"the queue at {url}: {_text(error)}") from error
    except amqp.DeliveryError as error:
        raise QueueUnavailable(f"the queue at {url} did not accept a message: {_text(error)}") from error
    except (*amqp.CONNECTION_EXCEPTIONS, TimeoutError) as error:
        raise QueueUnavailable(f"the queue at {url} does not answer: {_text(error)}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # The client cancels what waits on a connection that ends.
        raise QueueUnavailable(f"the connection to the queue at {url} is closed") from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def queue_of(namespace: str, priority: Priority) -> str:
    return f"{namespace}.queue.{priority.value}"


class Link:
    """Opened when it is needed. One that ended is not mended: the next step opens another, reads the credentials again
    and looks whether the queues are as they have to be."""

    def __init__(self, table: RabbitSettings, namespace: str) -> None:
        self._table, self.namespace = table, namespace
        self.url = ",".join(map(shown, table.addresses))
        self._connection: Any = None
        self._channel: Any = None
        self._opening = asyncio.Lock()
        self.opened = 0
        """How many channels there were."""
        self.ended = asyncio.Event()
        """The channel is of no use any more."""

    def usable(self) -> bool:
        return self._channel is not None and not self.ended.is_set() and not self._channel.is_closed

    async def channel(self) -> Any:
        """An open channel; raises QueueUnavailable or QueueError."""
        async with self._opening:
            if not self.usable():
                await self.close()
                with translated(self.url):
                    await asyncio.wait_for(self._open(), CONNECT_SECONDS * len(self._table.addresses) + TIMEOUT_SECONDS)
            return self._channel

    async def _open(self) -> None:
        self._connection = await self._connect()
        opened = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        channel = await opened.get_underlay_channel()
        try:
            await self._declare(channel)
        except BaseException:
            await self.close()
            raise
        self.ended = ended = asyncio.Event()
        for part in (self._connection, opened):
            part.close_callbacks.add(lambda *_: ended.set())
        self._channel, self.opened = channel, self.opened + 1

    async def _connect(self) -> Any:
        failed: Exception | None = None
        for address in self._table.addresses:
            try:
                return await asyncio.wait_for(self._connect_to(address), CONNECT_SECONDS)
            except (amqp.AuthenticationError, amqp.ProbableAuthenticationError):
                raise
            except (*amqp.CONNECTION_EXCEPTIONS, TimeoutError) as error:
                failed = error
        raise failed or ConnectionError("no address is configured")

    async def _connect_to(self, address: str) -> Any:
        plain, login = without_login(address)
        login = self._table.login(*(login or ()))
        options: dict[str, Any] = {"ssl_context": self._table.tls_context()} if plain.startswith("amqps:") else {}
        url = aio_pika.connection.make_url(plain).update_query(heartbeat=str(self._table.heartbeat_seconds))
        if login:
            url = url.with_user(login[0]).with_password(login[1])
        return await aio_pika.connect(url, client_properties={"connection_name": f"horae {self.namespace}"}, **options)

    async def _declare(self, channel: Any) -> None:
        for priority in Priority:
            name = queue_of(self.namespace, priority)
            try:
                await channel.queue_declare(name, durable=True, arguments=dict(self._arguments()))
            except amqp.ChannelPreconditionFailed as error:
                raise QueueError(
                    f"the queue {name} at {self.url} does not have the settings that Horae needs: {_text(error)}. "
                    f"Delete the queue when it is empty, and Horae creates it again: rabbitmqctl delete_queue {name}"
                ) from error

    def _arguments(self) -> Mapping[str, Any]:
        # A queue that a policy limits refuses a message, which the relay keeps, and drops none.
        wanted: dict[str, Any] = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
        if self._table.replicas:
            wanted["x-quorum-initial-group-size"] = self._table.replicas
        if self._version() >= UNLIMITED_FROM:
            wanted["x-delivery-limit"] = -1
        return wanted

    def _version(self) -> int:
        """The first number of the server's version; 0 when it does not say."""
        told = self._connection.transport.connection.server_properties.get("version", "")
        first = (told.decode() if isinstance(told, bytes) else str(told)).split(".")[0]
        return int(first) if first.isdigit() else 0

    async def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        self.ended.set()
        if connection is not None:
            with suppress(Exception):  # it is of no use any more, whatever it says
                await asyncio.wait_for(connection.close(), CLOSE_SECONDS)
