"""The interface of the queues. A broker only carries a message to a worker with a free slot; the store does the rest.

Each file or folder of this package that is named after a broker exports one `PROVIDER`, a `Provider`. Names, checks,
the reference and the contract tests are derived from these values.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pydantic import BaseModel

from horae.jobs.policies import Need
from horae.messages import Message
from horae.settings import Settings


class Ordering(StrEnum):
    """The order in which a single consumer receives messages. Redelivered messages may come in any order."""

    NONE = "none"
    """In any order."""
    PRIORITY = "within a priority"
    """In the order of publishing, within each priority."""
    PARTITION = "within a partition"
    """In the order of publishing, within each partition of the broker."""


ALWAYS = "always"


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a broker can do. Every field states a fact that the contract tests or the checks use."""

    redelivers_for: timedelta
    """The longest time after which the broker may still hand out a message that it accepted. The ledger must keep
    settled runs for longer. For a broker without a limit: the longest planned outage of all workers."""
    native_schedules: str | None
    """The first version of the server that can delay a message itself, such as "2.14"; `ALWAYS` for a service without
    versions; None if no version can. The outbox then holds messages until they are due."""
    schedules_ahead: timedelta | None = None
    """How long before a run is due Horae may give its message to the broker; None: Horae gives it when it is due."""
    priorities: bool
    """True: the broker hands out priorities in the ratio 8:3:1. False: it ignores priorities."""
    ordering: Ordering
    held: bool = False
    """Whether a message can wait with one worker, out of reach of the others: in a partition of its own, or in a call
    of the broker. A full worker then puts what it receives into the ready list of the store."""
    largest_bytes: int | None = None
    """The largest message that any server of this broker takes. None: larger than Horae allows."""

    def lacking(self, needs: frozenset[Need], message_limit_bytes: int) -> str:
        """Those of the needs that the broker does not offer, in words; empty if it offers all."""
        return ", ".join(sorted(needs - self.offered(message_limit_bytes)))

    def offered(self, message_limit_bytes: int) -> frozenset[Need]:
        """What the broker offers, if messages may have up to this size."""
        offered = {
            Need.DELAY: True,
            Need.ORDERING: self.ordering is Ordering.PRIORITY,
            Need.PRIORITY: self.priorities,
            Need.SIZE: self.largest_bytes is None or message_limit_bytes <= self.largest_bytes,
        }
        return frozenset(need for need, found in offered.items() if found)


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """A message that a provider handed to a worker. If it is not acknowledged, the provider hands it out again."""

    body: bytes
    message: Message | None
    """None if the body is not a valid message."""
    wrong: str = ""
    """Why the body is not a valid message."""
    receipt: Any = field(repr=False)
    """The consumer's own identification of the delivery, for `ack`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backlog:
    """The messages at a broker that no worker has acknowledged."""

    messages: int
    oldest: timedelta = timedelta(0)
    """The age of the oldest message by the broker's clock. Zero if there is none, or the broker does not know."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedServer:
    """A broker that `horae up` starts on this machine, because the settings ask for it."""

    name: str
    command: tuple[str, ...]
    folder: Path
    """The folder that it runs in."""
    port: int
    setting: str
    """The name of the setting that chooses the port."""
    answers: Callable[[], bool] = field(repr=False)
    """Whether it accepts clients. Blocks for a second at most."""


class Publisher(Protocol):
    async def publish(self, messages: Sequence[Message]) -> None:
        """Publish; the messages are durable at the broker on return. Raises QueueUnavailable; some may be published."""

    async def check(self) -> None:
        """Raises QueueUnavailable if the broker does not answer."""

    async def close(self) -> None: ...


@runtime_checkable
class Scheduling(Protocol):
    """A publisher whose broker keeps a message until an instant."""

    async def schedule(self, messages: Sequence[tuple[Message, datetime]]) -> None:
        """Publish messages that the broker delivers at these instants. Its errors are those of `publish`."""


class Consumer(Protocol):
    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        """Return up to `limit` deliveries as soon as there is one, or none after `wait`. Raises QueueUnavailable."""

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge deliveries of this consumer. Raises QueueUnavailable; the broker may then deliver them again."""

    async def close(self) -> None: ...


@runtime_checkable
class Refusing(Protocol):
    """A consumer whose broker waits for an answer to each message."""

    async def refuse(self, deliveries: Sequence[Delivery]) -> None:
        """Answer at once that these were not taken. Without it, the broker finds out after some seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider[S: BaseModel, P: Publisher]:
    """A queue backend as a value. `horae check` reads it without the client library, so its file must import that
    library inside functions, or be the `__init__.py` of a folder whose other files import it."""

    name: str
    """The name in settings and jobs, and of its file."""
    title: str
    """The name for people."""
    use_when: str
    """The purpose, as the specification's table of backends states it."""
    settings: type[S]
    """The model of its table `[queue.NAME]`. All fields need defaults, because the table may be absent."""
    capabilities: Capabilities
    missing: Callable[[Settings, S], str]
    """Returns the setting that the user must give first, such as `queue.nats.url`; empty if it is configured."""
    open_publisher: Callable[[Settings, S], P]
    """Called on the event loop. Does no I/O; the first call connects, so a process can start without its broker."""
    open_consumer: Callable[[Settings, S, str], Consumer] | None
    """The same for a consumer; the string is the name of the worker. None: the broker calls the receiver."""
    open_receiver: Callable[[Settings, S], Consumer] | None = None
    """For a broker that calls: the endpoint that it calls, as a source of messages. It listens from the first receive
    on, in the process of the receiver."""
    backlog: Callable[[P], Awaitable[Backlog]] | None = None
    """Returns the backlog; None if the broker cannot tell it. Raises QueueUnavailable. It uses the publisher, so that
    it also answers while a consumer hangs."""
    own_backlog: Callable[[Any], Awaitable[int]] | None = None
    """For a broker that keeps a message for one consumer: returns how many wait for this one. None: any consumer can
    get any message, so `backlog` answers for each. Raises QueueUnavailable."""
    embedded: Callable[[Settings, S], EmbeddedServer | None] | None = None
    """The server that the settings ask `horae up` to start; None if they ask for none. Raises StartError if it is not
    installed."""
    extra: str = ""
    """The extra of the package that installs its client library; empty if every installation has the library."""
