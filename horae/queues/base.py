"""The seam of the queues: what carries a message to a worker that has a free slot. The store holds everything else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from horae.messages import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a provider can do; routing, contract tests and docs read it."""

    use_when: str
    """In the words of the specification's table of backends."""
    longest_delay: timedelta = timedelta(0)
    """How long the broker itself can hold a message back. Zero: the outbox does."""
    priorities: bool = True
    """Keeps priorities apart."""
    pull: bool = True
    """Workers fetch from it. False: it calls a receiver."""

    def names(self) -> tuple[str, ...]:
        """As Oneiric compares them."""
        held = {"priorities": self.priorities, "pull": self.pull, "delay": bool(self.longest_delay)}
        return tuple(name for name, has in held.items() if has)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message that a provider handed to a worker. Unless acknowledged, the provider hands it out again."""

    body: bytes
    message: Message | None
    """None when the body is no valid message."""
    wrong: str = ""
    """What is wrong with it then."""
    receipt: Any = field(repr=False)
    """By what its consumer knows it again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """What a broker holds: messages that no worker has acknowledged."""

    messages: int
    oldest: timedelta = timedelta(0)
    """How long the first of them has been there, by the broker's clock. Zero when there is none."""


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Durable at the broker when it returns; raises QueueUnavailable, and then some may be there all the same."""

    async def check(self) -> None:
        """Raises QueueUnavailable unless the broker answers."""

    async def close(self) -> None: ...


@runtime_checkable
class SupportsBacklog(Protocol):
    """A publisher whose broker can say what it holds."""

    async def backlog(self) -> Backlog:
        """Raises QueueUnavailable."""


class Consumer(Protocol):
    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        """At most `limit`, at once if any are there, else none after `wait`; raises QueueUnavailable."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The provider may forget these, which this consumer received; raises QueueUnavailable, and then they may come
        again."""

    async def close(self) -> None: ...
