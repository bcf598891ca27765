"""A server that speaks the ping protocol of healthchecks.io on loopback, with the faults that it is known for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(kw_only=True)
class PingServer:
    """`pings` has (path with query, body) of each ping, in order."""

    url: str = ""
    """The ping URL of one check."""
    pings: list[tuple[str, str]] = field(default_factory=list)
    status: int = 200
    answer: str = "OK"
    release: threading.Event = field(default_factory=threading.Event)
    """While `hang` is true, a request waits for it."""
    hang: bool = False

    @property
    def paths(self) -> list[str]:
        return [path.partition("?")[0] for path, _ in self.pings]


@contextmanager
def ping_server() -> Iterator[PingServer]:
    told = PingServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            told.pings.append((self.path, body))
            if told.hang:
                told.release.wait(10)
            self.send_response(told.status)
            self.end_headers()
            self.wfile.write(told.answer.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test has the pings."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}/0b1c-secret-check"
    try:
        yield told
    finally:
        told.release.set()
        server.shutdown()
        server.server_close()
        thread.join()
