"""A TCP relay that can cut a connection after the server has answered and before the client has heard it."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Self

from horae.local.ports import LOOPBACK


class CuttingProxy:
    """Use it as a context; then `port` is where the client connects. `cut` lets the next answer vanish."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._word: bytes | None = None
        self._armed: set[asyncio.StreamWriter] = set()
        self._for_good = False
        self.cuts, self.port = 0, 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    def cut(self, word: str, *, for_good: bool = False) -> None:
        """Carry the next request with this word to the server, and drop the connection instead of the answer.

        `for_good`: let nobody in afterwards.
        """
        self._word, self._for_good = word.encode(), for_good

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._for_good and self.cuts:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection(LOOPBACK, self._target_port)
        self._open |= {writer, back}
        with suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(self._requests(reader, back, writer), self._answers(there, writer))
        writer.close()
        back.close()

    async def _requests(
        self, reader: asyncio.StreamReader, back: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 20):
            if self._word and self._word in data:
                self._word = None
                self._armed.add(client)
            back.write(data)
            await back.drain()
        back.close()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(1 << 20):
            if writer in self._armed and not data.startswith(b"-NOSCRIPT"):
                self.cuts += 1
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
        writer.close()
