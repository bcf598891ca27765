"""Tell whether a command without an answer may have reached the server, and so may have been executed."""

from contextvars import ContextVar
from typing import Any, Self

from redis.asyncio.connection import AbstractConnection


class Sending:
    """Notes whether a command is sent inside the block, on connections of this package.

    `begun` becomes true when a command is written to an open connection.
    """

    __slots__ = ("_token", "begun")

    def __init__(self) -> None:
        self.begun = False

    def __enter__(self) -> Self:
        self._token = _current.set(self)
        return self

    def __exit__(self, *exc: object) -> None:
        _current.reset(self._token)


_current: ContextVar[Sending | None] = ContextVar("sending", default=None)


class NotesSending(AbstractConnection):
    """A connection that notes commands, but not its handshake: if the handshake fails, no command was executed."""

    _greets = False

    async def connect_check_health(self, *arguments: Any, **options: Any) -> None:
        self._greets = True
        try:
            await super().connect_check_health(*arguments, **options)
        finally:
            self._greets = False

    async def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        if not self.is_connected:
            await self.connect_check_health(check_health=False)
        noted = _current.get()
        if noted and not self._greets:
            noted.begun = True
        await super().send_packed_command(*arguments, **options)
