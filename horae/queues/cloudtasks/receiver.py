"""The endpoint that Cloud Tasks calls. To the worker it is a source of messages, like a consumer of any broker.

A call is answered 200 when its message was acknowledged. Each other answer makes Cloud Tasks call again.
"""

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from horae.errors import QueueUnavailable
from horae.messages import Priority
from horae.queues.base import Delivery
from horae.queues.cloudtasks.settings import CloudTasksSettings
from horae.queues.cloudtasks.tokens import KeysUnavailable, Refused, Tokens
from horae.queues.decoding import delivery_of
from horae.queues.priorities import wheel

log = logging.getLogger(__name__)
TAKEN_SECONDS = 3.0
"""How long a call waits for the worker, which puts it into the ready list when no slot gets free within a second."""
SETTLED_SECONDS = 10.0
"""How long a call waits for its acknowledgement, once a worker has its message."""
TASK_BYTES = 1 << 20
"""No task is larger than this: Cloud Tasks refuses it."""
MOST_CALLS = 1000
"""The most calls that wait at the same time."""
STOP_SECONDS = 2


class Call:
    """A call that waits for its answer."""

    def __init__(self, body: bytes, limit_bytes: int) -> None:
        self.delivery = delivery_of(body, limit_bytes, self)
        self.taken, self.settled = asyncio.Event(), asyncio.Event()
        self.acknowledged = False

    @property
    def priority(self) -> Priority:
        return self.delivery.message.priority if self.delivery.message else Priority.NORMAL


class _Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class CloudTasksReceiver:
    """Serves from the first `receive` until `close`."""

    def __init__(self, table: CloudTasksSettings, limit_bytes: int) -> None:
        self._table, self._limit_bytes = table, limit_bytes
        self._tokens, self._wheel = Tokens(table), wheel()
        self._calls: dict[Priority, deque[Call]] = {priority: deque() for priority in Priority}
        self._news = asyncio.Event()
        self._open: set[Call] = set()
        """The calls that have no answer yet."""
        self._stopping = False
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = table.listen_port
        """The port that it listens on."""

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        await self._listen()
        found = self._next(limit)
        if not found and wait:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), wait.total_seconds())
            except TimeoutError:
                return []
            found = self._next(limit)
        return found

    def _next(self, limit: int) -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < limit and any(self._calls.values()):
            queue = next(self._calls[priority] for priority in next(self._wheel) if self._calls[priority])
            call = queue.popleft()
            call.taken.set()
            found.append(call.delivery)
        return found

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            delivery.receipt.acknowledged = True
            delivery.receipt.settled.set()

    async def refuse(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            delivery.receipt.settled.set()

    async def _listen(self) -> None:
        if self._serving is not None:
            if self._serving.done():
                self._serving.result()
                raise QueueUnavailable("the receiver ended")
            return
        host, port = self._table.listen_host, self.port
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()
        except OSError as error:
            listener.close()
            raise QueueUnavailable(
                f"the receiver cannot listen on {host}:{port}: {error.strerror}; set queue.cloudtasks.listen_port"
            ) from error
        routes = [Route(self._table.path, self._called, methods=["POST"])]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]), name="receiver")
        self.port = listener.getsockname()[1]
        told = f"http://{host}:{self.port}{self._table.path}"
        log.info("the receiver listens on %s", told, extra={"action": "receiver_up"})

    async def _called(self, request: Request) -> Response:
        try:
            await self._tokens.verify(request.headers.get("authorization", ""))
        except Refused as error:
            log.warning("a call is refused: %s", error, extra={"action": "call_refused"})
            return PlainTextResponse(f"{error}\n", 401, {"WWW-Authenticate": "Bearer"})
        except KeysUnavailable as error:
            log.warning("a call cannot be verified: %s", error, extra={"action": "keys_unavailable"})
            return _later(str(error))
        if self._stopping or len(self._open) >= MOST_CALLS:
            return _later("the receiver takes no more calls now")
        try:
            body = await _bounded(request)
        except ClientDisconnect:
            return _later("the call ended before its body did")
        return await self._answer(Call(body, self._limit_bytes))

    async def _answer(self, call: Call) -> Response:
        queue = self._calls[call.priority]
        queue.append(call)
        self._open.add(call)
        self._news.set()
        try:
            if not await _within(call.taken, TAKEN_SECONDS):
                return _later("no slot is free, and the ready list is full")
            if not await _within(call.settled, SETTLED_SECONDS) or not call.acknowledged:
                return _later("the run could not be claimed")
            return PlainTextResponse("the message is acknowledged\n")
        finally:
            self._open.discard(call)
            if call in queue:
                queue.remove(call)

    async def close(self) -> None:
        self._stopping = True
        for call in self._open:
            call.taken.set()
            call.settled.set()
        if self._server and self._serving:
            self._server.should_exit = True
            await asyncio.wait([self._serving], timeout=STOP_SECONDS)


async def _bounded(request: Request) -> bytes:
    """The body, or its beginning if it is larger than any task: it then becomes a dead letter."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > TASK_BYTES:
            break
    return bytes(body)


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _later(why: str) -> Response:
    return PlainTextResponse(f"{why}; call again\n", 503, {"Retry-After": "1"})
