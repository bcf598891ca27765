"""A load balancer before the receivers of Cloud Tasks: Google calls one URL, and several receivers share the calls."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from horae.local.ports import LOOPBACK


class Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Balancer:
    """Hands each call to the next receiver in turn, and answers 502 without one."""

    def __init__(self, port: int) -> None:
        self.port, self._turn = port, count()
        self.receivers: list[str] = []
        """The URLs of the receivers."""
        self._client = httpx.AsyncClient(timeout=30)
        app = Starlette(routes=[Route("/{path:path}", self._pass_on, methods=["POST"])])
        self._server = Server(uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, self.port))
        self._serving = asyncio.create_task(self._server.serve([listener]))

    async def _pass_on(self, request: Request) -> Response:
        if not self.receivers:
            return Response("no receiver", 502)
        url = self.receivers[next(self._turn) % len(self.receivers)] + request.url.path
        kept = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
        try:
            answer = await self._client.post(url, content=await request.body(), headers=kept)
        except (httpx.HTTPError, ClientDisconnect):
            return Response("the receiver does not answer", 502)
        return Response(answer.content, answer.status_code)

    async def close(self) -> None:
        self._server.should_exit = True
        if self._serving:
            with suppress(asyncio.CancelledError):
                await self._serving
        await self._client.aclose()
