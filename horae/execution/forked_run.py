"""One run in its own process, as seen by the process that requested it: its messages, its output, its exit status."""

import asyncio
import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from horae.execution.channel import MESSAGE_LIMIT_BYTES, packets, pair

log = logging.getLogger(__name__)
READ_BYTES = 64 * 1024
READS_AT_ONCE = 16
"""After this many reads, a run with a flood of output lets other tasks of the event loop run."""
READS_AT_THE_END = 10_000
"""More than the buffers hold, but a limit for a process that continues to write."""


type Outputs = tuple[int, int] | None


class Hearer(Protocol):
    """Receives from a run, on the event loop."""

    def message(self, message: dict[str, Any]) -> None:
        """A message from its channel."""

    def output(self, data: bytes) -> None:
        """Text on its stdout, from subprocesses or from direct writes to the descriptor."""

    def errors(self, data: bytes) -> None:
        """Text on its stderr."""


class ForkedRun:
    """Close it after use. `ended` has the exit status when the process has ended: negative for the signal that
    killed it.
    """

    def __init__(self, number: int, hearer: Hearer, outputs: Outputs = None) -> None:
        self.number, self._hearer = number, hearer
        self._loop = asyncio.get_running_loop()
        self.forked: asyncio.Future[None] = self._loop.create_future()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.handed_over = self.begun = False
        """The process has read the request. If it dies from now on, the run has failed."""
        self.pid = 0
        """Known when `forked` is done."""
        self._channel, channel = pair()
        self._channel.setblocking(False)
        self._sources: dict[int, Callable[[], bool]] = {self._channel.fileno(): self._read_message}
        ends = self._pipes(hearer) if outputs is None else tuple(map(os.dup, outputs))
        self._theirs: tuple[int, ...] = (channel.detach(), *ends)
        for descriptor in self._sources:
            os.set_blocking(descriptor, False)
            self._loop.add_reader(descriptor, self._read_some, descriptor)

    def _pipes(self, hearer: Hearer) -> tuple[int, int]:
        output, out = os.pipe()
        errors, err = os.pipe()
        self._sources[output] = lambda: self._read(output, hearer.output)
        self._sources[errors] = lambda: self._read(errors, hearer.errors)
        return out, err

    def hand_over(self, control: socket.socket, order: bytes) -> None:
        """Send the order with the run's ends of the channels, and close these ends here. Raises OSError; may be called
        again.
        """
        socket.send_fds(control, [order], self._theirs)
        self.handed_over = True
        self._close_theirs()

    async def ask(self, request: bytes) -> None:
        """Raises OSError if the run's end is closed."""
        for packet in packets(request):
            await self._loop.sock_sendall(self._channel, packet)

    def end(self, status: int) -> None:
        """The process has ended: read what is left in the buffers."""
        for descriptor in list(self._sources):
            self._read_some(descriptor, READS_AT_THE_END)
        for future in (self.forked, self.ended):
            if not future.done():
                future.set_result(status)  # type: ignore[arg-type]

    def close(self) -> None:
        self._close_theirs()
        for descriptor in list(self._sources):
            self._drop(descriptor)

    def _close_theirs(self) -> None:
        for descriptor in self._theirs:
            os.close(descriptor)
        self._theirs = ()

    def _read_some(self, descriptor: int, times: int = READS_AT_ONCE) -> None:
        with suppress(BlockingIOError):
            for _ in range(times):
                if not self._sources[descriptor]():
                    self._drop(descriptor)
                    return

    def _read(self, descriptor: int, hear: Callable[[bytes], None]) -> bool:
        data = os.read(descriptor, READ_BYTES)
        if data:
            hear(data)
        return bool(data)

    def _read_message(self) -> bool:
        try:
            data = self._channel.recv(MESSAGE_LIMIT_BYTES)
        except ConnectionError:
            return False
        if not data:
            return False
        try:
            message = json.loads(data)
        except ValueError:
            log.warning("the process of a run sent an invalid message", extra={"action": "run_message_unread"})
            return True
        if "begun" in message:
            self.begun = True
        else:
            self._hearer.message(message)
        return True

    def _drop(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        del self._sources[descriptor]
        if descriptor == self._channel.fileno():
            self._channel.close()
        else:
            os.close(descriptor)
