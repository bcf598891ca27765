"""The connections of one process to a store behind Sentinels, to be cut: to a Sentinel, the primary and the replica.

The Sentinel's answers name the proxies instead of the servers.
"""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from horae.local.ports import LOOPBACK
from tests.proxy import Proxy
from tests.redis_servers import SERVICE, Watched


class Wires:
    def __init__(self, sentinels: Watched) -> None:
        self._servers = {one.port: Proxy(one.port) for one in (sentinels.primary, sentinels.replica)}
        self._sentinel = Proxy(sentinels.sentinels[0].port, self._renamed)
        self._all = [self._sentinel, *self._servers.values()]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for one in self._all:
            await self._stack.enter_async_context(one)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        return f"redis+sentinel://{LOOPBACK}:{self._sentinel.port}/{SERVICE}/0"

    def _renamed(self, data: bytes) -> bytes:
        """An answer of the Sentinel, with the port of a proxy in it. Its length is written before it."""
        for port, proxy in self._servers.items():
            old, new = str(port).encode(), str(proxy.port).encode()
            data = data.replace(b"$%d\r\n%b\r\n" % (len(old), old), b"$%d\r\n%b\r\n" % (len(new), new))
        return data

    def refuse(self) -> None:
        for one in self._all:
            one.refuse()

    def stall(self) -> None:
        for one in self._all:
            one.stall()

    def restore(self) -> None:
        for one in self._all:
            one.restore()
