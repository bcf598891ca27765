"""A TCP relay between one process and the store, whose connections can be dropped, refused or held up."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from horae.local.ports import LOOPBACK


class Proxy:
    """Use it as a context; then `port` is where the process connects."""

    def __init__(self, target_port: int, rewrite: Callable[[bytes], bytes] | None = None) -> None:
        """`rewrite`: what the process is told instead of a piece of what the server says."""
        self.target_port = target_port
        """Where new connections go to."""
        self._rewrite = rewrite
        self._refuses = self._stalls = False
        self._ends: set[End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: End(self._ends, self._accepted), LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server
        self._server.close()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        self.drop()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    @property
    def connections(self) -> int:
        """Ends of connections that are open, two for each that goes through."""
        return len(self._ends)

    def drop(self) -> None:
        """Reset every connection, with whatever is on its way."""
        for end in list(self._ends):
            end.abort()

    def refuse(self) -> None:
        """Drop, and let nobody in until `restore`."""
        self._refuses = True
        self.drop()

    def stall(self) -> None:
        """Let nothing through until `restore`, and say nothing: a partition."""
        self._stalls = True
        for end in list(self._ends):
            end.pause()

    def restore(self) -> None:
        self._refuses = self._stalls = False
        for end in list(self._ends):
            end.resume()

    def _accepted(self, near: "End") -> None:
        if self._refuses:
            near.abort()
            return
        task = asyncio.create_task(self._connect(near))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, near: "End") -> None:
        try:
            loop = asyncio.get_running_loop()
            far_end = End(self._ends, rewrite=self._rewrite)
            _, far = await loop.create_connection(lambda: far_end, LOOPBACK, self.target_port)
        except OSError:
            near.abort()
            return
        near.join(far)
        if self._refuses or near.lost:
            near.abort()
            far.abort()
        elif not self._stalls:
            near.resume()
            far.resume()


class End(asyncio.Protocol):
    """One side of a relayed connection. It reads nothing until it is resumed."""

    def __init__(
        self,
        ends: "set[End]",
        opened: "Callable[[End], None] | None" = None,
        rewrite: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._ends, self._opened, self._rewrite = ends, opened, rewrite
        self._peer: End | None = None
        self._transport: asyncio.Transport | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        self._ends.add(self)
        if self._opened:
            self._opened(self)

    def join(self, peer: "End") -> None:
        self._peer, peer._peer = peer, self

    def data_received(self, data: bytes) -> None:
        assert self._peer
        assert self._peer._transport
        self._peer._transport.write(self._rewrite(data) if self._rewrite else data)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        self._ends.discard(self)
        if self._peer and self._peer._transport:
            self._peer._transport.close()

    def pause_writing(self) -> None:
        if self._peer:
            self._peer.pause()

    def resume_writing(self) -> None:
        if self._peer:
            self._peer.resume()

    def pause(self) -> None:
        if self._transport:
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport and self._peer and not self.lost:
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport:
            self._transport.abort()
        self.lost = True
