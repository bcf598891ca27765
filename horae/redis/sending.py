"""Whether a command may have reached the server, when no answer came: only then can it have been carried out."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from redis.asyncio.connection import AbstractConnection


class Sending:
    """`begun` is true from the moment at which a command is written to a connection that stands."""

    __slots__ = ("begun",)

    def __init__(self) -> None:
        self.begun = False


_current: ContextVar[Sending | None] = ContextVar("sending", default=None)


@contextmanager
def sending() -> Iterator[Sending]:
    """What is sent inside, on connections of this room, is noted."""
    noted = Sending()
    token = _current.set(noted)
    try:
        yield noted
    finally:
        _current.reset(token)


class NotesSending(AbstractConnection):
    """A connection that notes commands, but not its greeting: a server that refuses that has carried out nothing."""

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
