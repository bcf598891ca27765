"""The seam of the queues. A broker only carries a message to a worker that has a free slot; the store holds the rest.

Each other file of this room that is named after a broker exports one `PROVIDER`, a `Provider`. Names, checks, the
reference and the contract tests are derived from these values.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel

from horae.messages import Message
from horae.settings import Settings


class Ordering(StrEnum):
    """In which order a single consumer receives what was published and never redelivered."""

    NONE = "none"
    """In any order."""
    PRIORITY = "within a priority"
    """As published, within each priority."""
    PARTITION = "within a partition"
    """As published, within each partition of the broker."""


ALWAYS = "always"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a broker can do. Every field states a fact that the contract tests or the checks use."""

    redelivers_for: timedelta
    """The longest time after which the broker may still hand out a message that it accepted. Settled runs must stay in
    the ledger for longer. For a broker without a limit: the longest outage of all workers that is planned for."""
    native_schedules: str | None
    """Version of the server from which on the broker itself can keep a time, such as "2.14"; `ALWAYS` for a service
    without versions; None: no version can, so the outbox keeps all times."""
    priorities: bool
    """Keeps priorities apart, weighted 8:3:1. False: it hands out messages of all priorities alike."""
    ordering: Ordering


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
    """How long the first of them has been there, by the broker's clock. Zero when there is none, or it cannot say."""


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Durable at the broker when it returns. Raises QueueUnavailable; some messages may be there all the same."""

    async def check(self) -> None:
        """Raises QueueUnavailable unless the broker answers."""

    async def close(self) -> None: ...


class Consumer(Protocol):
    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        """At most `limit` deliveries: at once if there are any, else none after `wait`. Raises QueueUnavailable."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """The provider may forget these deliveries of this consumer. Raises QueueUnavailable; they may come again."""

    async def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider[S: BaseModel, P: Publisher]:
    """A queue backend as a value. `horae check` reads it, so its file imports its client library in functions, or is
    the `__init__.py` of a folder whose other files do the work."""

    name: str
    """As settings and jobs name it; also the name of its file."""
    title: str
    """As people name it."""
    use_when: str
    """What it is for, in the words of the specification's table of backends."""
    settings: type[S]
    """The model of its table `[queue.NAME]`. Fields need defaults: the table may be absent."""
    capabilities: Capabilities
    missing: Callable[[Settings, S], str]
    """The setting to give before the provider can be used, such as `queue.nats.url`; empty when it is configured."""
    open_publisher: Callable[[Settings, S], P]
    """Called on the event loop. Does no I/O: the first step connects, so a broker that is away stops no process."""
    open_consumer: Callable[[Settings, S, str], Consumer] | None
    """The same, for the worker of that name. None: nobody polls it, since the broker calls the receiver."""
    backlog: Callable[[P], Awaitable[Backlog]] | None = None
    """What the broker holds that no worker has acknowledged. None: the broker cannot say. Raises QueueUnavailable.
    Asked through the publisher, so that a consumer that hangs does not hide it."""
    extra: str = ""
    """The extra of the package that installs its client library; empty when every installation has it."""
