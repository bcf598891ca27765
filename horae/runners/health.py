"""/health/live, /health/ready, /health and /metrics, served from a thread so that a blocked event loop cannot hide."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from horae.duties.duty import Progresses
from horae.errors import StartError
from horae.metrics.process import Metrics

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


class HealthServer:
    """Serves while the context is open; raises StartError if the port is taken."""

    def __init__(self, health: Health, host: str, port: int, setting: str) -> None:
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(health))
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port} for /health: {error.strerror}; choose another with {setting} (0: any)"
            ) from error
        self._server.daemon_threads = True
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
                self._answer(404, f"there is {known}\n".encode(), "text/plain")

        def _answer(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return  # one probe a second is no news

    return Handler
