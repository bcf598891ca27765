"""How a run in a process of its own talks to the process that asked for it: whole messages over a pair of sockets."""

import fcntl
import json
import os
import resource
import socket
import sys
from collections.abc import Iterator
from typing import Any

from horae.errors import ChildDied

KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
"""Both keep messages whole, so forks of a run may write to the same socket. macOS has no sequenced packets."""
PIECE_BYTES = 48 * 1024
BUFFER_BYTES = 512 * 1024
MESSAGE_LIMIT_BYTES = 256 * 1024
"""Of one message; whoever sends cuts its texts so that they fit."""
HIGH = 900
"""A job that closes every file below some number, as programs do that become daemons, should not close its channel."""


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends; neither is inherited by what a process starts."""
    ends = socket.socketpair(socket.AF_UNIX, KIND)
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return ends


def packets(request: bytes) -> Iterator[bytes]:
    """A request of any size as messages: its length, then its pieces."""
    yield str(len(request)).encode()
    for start in range(0, len(request), PIECE_BYTES):
        yield request[start : start + PIECE_BYTES]


def encoded(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode(errors="backslashreplace")


class Channel:
    """The run's end. Threads of the run and its forks may send at the same time."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def out_of_the_way(cls, end: socket.socket) -> "Channel":
        """The same channel under a high descriptor, if this process may have so many."""
        os.set_inheritable(end.fileno(), False)
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] <= HIGH:
            return cls(end)
        high = fcntl.fcntl(end.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
        end.close()
        return cls(socket.socket(fileno=high))

    def request(self) -> bytes:
        """What is to be done; raises ChildDied when the other end is gone."""
        length = self._receive()
        found = b""
        while len(found) < int(length):
            found += self._receive()
        return found

    def _receive(self) -> bytes:
        piece = self._end.recv(MESSAGE_LIMIT_BYTES)
        if not piece:
            raise ChildDied(f"process {os.getppid()} requested a run and ended")
        return piece

    def send(self, message: dict[str, Any]) -> None:
        """In one piece; waits while the other end is slow. Raises OSError when it is gone."""
        self._end.sendall(encoded(message))
