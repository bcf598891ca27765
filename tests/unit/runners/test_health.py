"""The health server answers whatever other clients do, and holds nothing for those that say nothing."""

import http.client
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from horae.duties.duty import Progresses
from horae.metrics.process import Metrics
from horae.runners import health
from horae.runners.health import Health, HealthServer
from tests.waiting import wait_for


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HealthServer]:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.5)
    metrics = Metrics()
    with HealthServer(Health(Progresses(metrics), metrics), "127.0.0.1", 0, "HORAE_TEST") as serving:
        yield serving


def place(server: HealthServer) -> tuple[str, int]:
    parts = urlsplit(server.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def asked(server: HealthServer, method: str, path: str) -> tuple[int, int, bytes]:
    """Status, Content-Length and body."""
    connection = http.client.HTTPConnection(*place(server), timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, int(answer.headers["Content-Length"]), answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/nowhere"])
def test_head_has_the_head_of_get(server: HealthServer, path: str) -> None:
    status, _, body = asked(server, "GET", path)
    headed, length, nothing = asked(server, "HEAD", path)
    assert (headed, nothing, bool(body)) == (status, b"", True)
    if path != "/metrics":  # which counts itself
        assert length == len(body)


def test_half_requests_are_cut_off(server: HealthServer) -> None:
    before = threading.active_count()
    held = [socket.create_connection(place(server), 10) for _ in range(20)]
    for one in held:
        one.sendall(b"GET /health HTTP/1.1\r\nX: ")
    assert [one.recv(1) for one in held] == [b""] * 20, "the server closes them"
    wait_for(lambda: threading.active_count() <= before, "the threads to end", 10)
    for one in held:
        one.close()


def test_half_requests_keep_no_probe_waiting(server: HealthServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 600.0)
    before = threading.active_count()
    held = [socket.create_connection(place(server), 10) for _ in range(150)]
    for one in held:
        one.sendall(b"GET /health HTTP/1.1\r\nX: ")
    assert asked(server, "GET", "/health/live")[0] == 200
    wait_for(lambda: threading.active_count() - before <= health.CONNECTIONS, "the oldest to be cut off", 10)
    for one in held:
        one.close()


def test_a_client_that_goes_away_is_no_traceback(server: HealthServer, capfd: pytest.CaptureFixture[str]) -> None:
    for body in (b"", b"GET /metrics HTTP/1.0\r\n\r\n", b"\x00\xff\r\n\r\n"):
        with socket.create_connection(place(server), 10) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # a reset instead of an end
            one.sendall(body)
    assert asked(server, "GET", "/health/live")[0] == 200
    assert "Traceback" not in capfd.readouterr().err
