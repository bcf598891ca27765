"""Ways to find the primary: which servers to ask, with which command, and how to read the answer."""

from collections.abc import Iterable
from typing import Any, Protocol

from redis.crc import key_slot

from horae.redis.address import Kind, RedisAddress

Place = tuple[str, int]


class Directory(Protocol):
    question: tuple[str, ...]
    """The command to send. Empty if there is nothing to ask, because the only place is the primary."""
    subject: str
    """What is searched, for messages."""
    places: list[Place]
    """The servers to ask, in order."""

    may_replace_the_living: bool
    """Whether a server that still accepts writes may already be replaced as the primary."""

    def read(self, answer: Any, asked: Place) -> Place | None:
        """The place of the primary by the answer of the server `asked`; None if that server does not know it."""
        ...

    def others(self) -> list[Place]:
        """The other primaries of the cluster, by the last answer."""
        ...


class Server:
    """A single server, which is the primary."""

    question: tuple[str, ...] = ()
    subject = "a primary that accepts this command"
    may_replace_the_living = False

    def __init__(self, where: Place) -> None:
        self.places = [where]

    def read(self, answer: Any, asked: Place) -> Place | None:
        return asked

    def others(self) -> list[Place]:
        return []


class Sentinels:
    """The Sentinels that watch a service."""

    may_replace_the_living = True

    def __init__(self, places: Iterable[Place], service: str) -> None:
        self.places = list(places)
        self.question: tuple[str, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        self.subject = f"the primary of {service}"

    def read(self, answer: Any, asked: Place) -> Place | None:
        return (answer[0], int(answer[1])) if answer else None

    def others(self) -> list[Place]:
        return []


class Nodes:
    """The nodes of a cluster. The nodes that an answer names are added to the given ones."""

    question: tuple[str, ...] = ("CLUSTER", "SLOTS")
    may_replace_the_living = False

    def __init__(self, places: Iterable[Place], key: str) -> None:
        self._first = tuple(places)
        self.places = list(self._first)
        self._slot = key_slot(key.encode())
        self._others: list[Place] = []
        self.subject = f"the cluster's primary of slot {self._slot}"

    def read(self, answer: Any, asked: Place) -> Place | None:
        found, named, primaries = None, [], []
        for start, end, *nodes in answer:
            # A node without an endpoint has the host of the node that was asked.
            names = [(node[0] if node[0] not in (None, "", "?") else asked[0], int(node[1])) for node in nodes]
            named += names
            primaries.append(names[0])
            if start <= self._slot <= end:
                found = names[0]
        self.places = list(dict.fromkeys((asked, *named, *self._first)))
        self._others = [one for one in dict.fromkeys(primaries) if one != found]
        return found

    def others(self) -> list[Place]:
        return list(self._others)


def directory_of(address: RedisAddress, key: str) -> Directory:
    """The directory that finds the primary that holds `key`."""
    if address.kind is Kind.SENTINEL:
        return Sentinels(address.hosts, address.service)
    if address.kind is Kind.CLUSTER:
        return Nodes(address.hosts, key)
    return Server(address.hosts[0])
