"""What the connection to Prefect does when the server is busy, or closes a connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from horae.errors import PrefectUnavailable
from horae.local.ports import LOOPBACK
from horae.prefect import connection
from horae.prefect.connection import PrefectConnection

FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n[]"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
CLOSE = b""


@asynccontextmanager
async def answering(answers: Sequence[bytes]) -> AsyncIterator[PrefectConnection]:
    """A connection to a server that gives these answers to its requests, one after the other; CLOSE gives none."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if not (answer := left.pop(0)):
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, LOOPBACK, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        async with PrefectConnection(f"http://{LOOPBACK}:{port}/api") as opened:
            yield opened
        assert left == []


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_WAIT_SECONDS", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("trouble", [CLOSE, BUSY])
@pytest.mark.parametrize("times", [1, 3])
async def test_it_asks_again_if_the_server_is_busy_or_closes_the_connection(trouble: bytes, times: int) -> None:
    async with answering([FINE, *[trouble] * times, FINE]) as opened:
        assert await opened.ask("GET", "/version") == []
        assert await opened.ask("GET", "/version") == []


@pytest.mark.parametrize(("trouble", "said"), [(CLOSE, "does not answer"), (BUSY, "with 503")])
async def test_it_gives_up_after_the_last_attempt(trouble: bytes, said: str) -> None:
    async with answering([trouble] * 4) as opened:
        with pytest.raises(PrefectUnavailable, match=said):
            await opened.ask("GET", "/version")
