"""/health/live, /health/ready, /health and /metrics, served from a thread so that a blocked event loop cannot hide."""

import json
import logging
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from horae.clock import monotonic
from horae.duties.duty import Progresses
from horae.errors import StartError
from horae.metrics.process import Metrics

log = logging.getLogger(__name__)
REQUEST_SECONDS = 5.0
"""A request that is not read and answered by then is cut off."""
CONNECTIONS = 64
"""Open at once. One more cuts off the oldest, so that a probe is answered however many others say nothing."""
STALL_SECONDS = 60.0
"""A duty that has not gone round for so long is stuck: not live. A job may block the event loop for less."""


class Health:
    """What a process says of itself. Live: its duties go round, even if only to wait. Ready: nothing is in its way."""

    def __init__(self, progresses: Progresses, metrics: Metrics) -> None:
        self._progresses, self._metrics = progresses, metrics
        self.obstacles: dict[str, str] = {"start": "starting"}
        """What makes it not ready beside its duties' troubles: starting, draining, an abandoned thread."""
        self.details: Callable[[], dict[str, Any]] = dict
        """More for /health: results of internal jobs."""

    def live(self) -> tuple[bool, dict[str, Any]]:
        stalled = self._progresses.stalled(STALL_SECONDS)
        return not stalled, {"live": not stalled, "stalled": stalled}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        waits = self.obstacles | self._progresses.troubles()
        return not waits, {"ready": not waits, "waits_for": waits, "degraded": self._progresses.degraded()}

    def all(self) -> tuple[bool, dict[str, Any]]:
        live, ready = self.live(), self.ready()
        return live[0] and ready[0], live[1] | ready[1] | self.details()

    def metrics(self) -> bytes:
        return self._metrics.page()


class _Server(ThreadingHTTPServer):
    """A thread a connection, as many as CONNECTIONS, each for REQUEST_SECONDS at the most."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            for oldest in list(self._open)[: len(self._open) + 1 - CONNECTIONS]:
                self._cut(oldest)
            self._open[request] = monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called by `serve_forever` twice a second, and after each new connection."""
        with self._lock:
            for request, began in list(self._open.items()):
                if monotonic() - began > REQUEST_SECONDS:
                    self._cut(request)

    def _cut(self, request: socket.socket) -> None:
        """Its thread wakes up and ends."""
        self._open.pop(request, None)
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exception(), OSError):
            log.exception("a request for /health failed", extra={"action": "health_request_failed"})


class HealthServer:
    """Serves while the context is open; raises StartError if the port is taken."""

    def __init__(self, health: Health, host: str, port: int, setting: str) -> None:
        try:
            self._server = _Server((host, port), _handler(health))
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port} for /health: {error.strerror}; choose another port with {setting} "
                "(0: any free port)"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(health: Health) -> type[BaseHTTPRequestHandler]:
    pages = {"/health/live": health.live, "/health/ready": health.ready, "/health": health.all}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            if path == "/metrics":
                self._answer(200, health.metrics(), "text/plain; version=0.0.4; charset=utf-8")
            elif path in pages:
                good, body = pages[path]()
                self._answer(200 if good else 503, json.dumps(body, default=str).encode(), "application/json")
            else:
                known = ", ".join([*pages, "/metrics"])
                self._answer(404, f"use {known}\n".encode(), "text/plain")

        do_HEAD = do_GET

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return  # one probe a second is no news

    return Handler
