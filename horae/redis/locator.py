"""Where the primary is, asked anew for each connection."""

import asyncio
from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.retry import Retry

from horae.clock import monotonic
from horae.redis.address import place
from horae.redis.directories import Directory, Place

CHECK_SECONDS = 1.0
"""A primary that Sentinel replaced while it lived takes writes for ten seconds more, and then loses them."""
TRUST_SECONDS = 30.0
"""Until the next check, when no Sentinel answered: the primary is not doubted for that."""
ELSEWHERE = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)  # a MovedError is an AskError


def is_elsewhere(error: ResponseError) -> bool:
    """Whether a server says by it that it is not the primary (any more)."""
    return isinstance(error, ELSEWHERE) or str(error).startswith("UNBLOCKED")


class Locator:
    """Of one client; its connections share it. `asking`: options of a connection to those that are asked."""

    def __init__(self, directory: Directory, asking: dict[str, Any], moved: Callable[[], None] | None) -> None:
        self.directory = directory
        self._asking, self._moved = asking, moved
        self._found: Place | None = None
        self._next_check = 0.0

    async def find(self) -> Place:
        """Raises ConnectionError when nobody can say it."""
        if not self.directory.question:
            return self.directory.places[0]
        reasons = []
        for asked in list(self.directory.places):
            try:
                async with self.client(asked) as client:
                    found = self.directory.read(await client.execute_command(*self.directory.question), asked)
            except (RedisError, OSError) as error:
                reasons.append(_reason(asked, error))
            else:
                if found:
                    return self._settle(found, asked)
                reasons.append(f"{place(*asked)} does not know it")
        raise self._lost(reasons)

    def find_blocking(self) -> Place:
        """The same, from a thread."""
        if not self.directory.question:
            return self.directory.places[0]
        reasons = []
        for asked in list(self.directory.places):
            try:
                with self._blocking_client(asked) as client:
                    found = self.directory.read(client.execute_command(*self.directory.question), asked)
            except (RedisError, OSError) as error:
                reasons.append(_reason(asked, error))
            else:
                if found:
                    return self._settle(found, asked)
                reasons.append(f"{place(*asked)} does not know it")
        raise self._lost(reasons)

    async def check(self, at: Place) -> None:
        """Before a connection to `at` is used again: raises ConnectionError if the primary is known to be elsewhere."""
        if self._check_is_due():
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self.find()
            except (ConnectionError, TimeoutError):
                self._next_check = monotonic() + TRUST_SECONDS
        self._refuse(at)

    def check_blocking(self, at: Place) -> None:
        """The same, from a thread."""
        if self._check_is_due():
            try:
                self.find_blocking()
            except ConnectionError:
                self._next_check = monotonic() + TRUST_SECONDS
        self._refuse(at)

    def _check_is_due(self) -> bool:
        if not self.directory.may_replace_the_living or monotonic() < self._next_check:
            return False
        self._next_check = monotonic() + CHECK_SECONDS
        return True

    def _refuse(self, at: Place) -> None:
        if self._found not in (None, at):
            raise ConnectionError(f"{place(*at)} is not {self.directory.subject} any more")

    async def primaries(self) -> list[Place]:
        """Each that a key could come to live on."""
        return [await self.find(), *self.directory.others()]

    def client(self, of: Place) -> Any:
        """Of one of those that are asked, or of the primaries of a cluster."""
        return redis.asyncio.Redis(host=of[0], port=of[1], retry=AsyncRetry(NoBackoff(), 0), **self._asking)

    def _blocking_client(self, of: Place) -> Any:
        return redis.Redis(host=of[0], port=of[1], retry=Retry(NoBackoff(), 0), **self._asking)

    def distrust(self, error: ResponseError, there: Place) -> ConnectionError:
        """The primary is not where it was found. In a cluster, the node that says so is asked first."""
        if there in self.directory.places:
            self._prefer(there)
        where = f"{place(*there)} is not {self.directory.subject}"
        if isinstance(error, MovedError):
            return ConnectionError(f"{where}, its cluster has that at {place(error.host, error.port)}{self._hint()}")
        if isinstance(error, AskError):
            # To follow it would run a script where only some of its keys are yet.
            return ConnectionError(f"{where} for now: the slot is being moved to {place(error.host, error.port)}")
        return ConnectionError(f"{where}: {error}")

    def _hint(self) -> str:
        return "" if self.directory.question else "; say redis+cluster:// for a cluster"

    def _settle(self, found: Place, asked: Place) -> Place:
        self._prefer(asked)
        before, self._found = self._found, found
        if before not in (None, found) and self._moved:
            self._moved()
        return found

    def _prefer(self, asked: Place) -> None:
        self.directory.places = [asked, *(one for one in self.directory.places if one != asked)]

    def _lost(self, reasons: list[str]) -> ConnectionError:
        return ConnectionError(f"nobody says where {self.directory.subject} is: {'; '.join(reasons)}")


def _reason(asked: Place, error: Exception) -> str:
    said = str(error) or type(error).__name__
    return said if place(*asked) in said else f"{place(*asked)}: {said}"
