"""Connections for an event loop. Each new connection goes to the current primary."""

from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import ConnectionError, ResponseError

from horae.redis.locator import Locator, is_elsewhere
from horae.redis.sending import NotesSending


class PlainConnection(NotesSending, Connection):
    def __init__(self, *, locator: Locator, **options: Any) -> None:
        self._locator = locator
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await self._locator.find()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        if self._locator.directory.question and self.is_connected:
            try:
                await self._locator.check((self.host, self.port))
            except ConnectionError:
                await self.disconnect(nowait=True)
                raise
        await super().send_packed_command(*arguments, **options)

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """If the server answers that it is not the primary (any more), close and raise ConnectionError."""
        try:
            return await super().read_response(*arguments, **options)
        except ResponseError as error:
            if not is_elsewhere(error):
                raise
            await self.disconnect(nowait=True)
            raise self._locator.distrust(error, (self.host, self.port)) from error


class TlsConnection(PlainConnection, SSLConnection):
    pass


class SocketConnection(NotesSending, UnixDomainSocketConnection):
    pass
