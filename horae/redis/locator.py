"""Find the primary, again for each connection."""

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
"""The interval of checks. A live primary that Sentinel has replaced accepts writes for ten more seconds and then loses
them."""
TRUST_SECONDS = 30.0
"""The time until the next check if no Sentinel answered. Until then the known primary is used."""
ELSEWHERE = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)  # a MovedError is an AskError


def is_elsewhere(error: ResponseError) -> bool:
    """Whether the error means that the server is not the primary (any more)."""
    return isinstance(error, ELSEWHERE) or str(error).startswith("UNBLOCKED")


class Locator:
    """Finds the primary for all connections of one client. `asking`: options of connections to the servers to ask."""

    def __init__(self, directory: Directory, asking: dict[str, Any], moved: Callable[[], None] | None) -> None:
        self.directory = directory
        self._asking, self._moved = asking, moved
        self._found: Place | None = None
        self._next_check = 0.0

    async def find(self) -> Place:
        """The place of the primary. Raises ConnectionError if no server knows it."""
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
                reasons.append(f"{place(*asked)} does not know the primary")
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
                reasons.append(f"{place(*asked)} does not know the primary")
        raise self._lost(reasons)

    async def check(self, at: Place) -> None:
        """Call it before a connection to `at` is reused. Raises ConnectionError if the primary is at another place."""
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
            raise ConnectionError(f"{place(*at)} is no longer {self.directory.subject}")

    async def primaries(self) -> list[Place]:
        """All primaries that a key may be moved to, the current one first."""
        return [await self.find(), *self.directory.others()]

    def client(self, of: Place) -> Any:
        """A client of one of the servers to ask, or of a primary of a cluster."""
        return redis.asyncio.Redis(host=of[0], port=of[1], retry=AsyncRetry(NoBackoff(), 0), **self._asking)

    def _blocking_client(self, of: Place) -> Any:
        return redis.Redis(host=of[0], port=of[1], retry=Retry(NoBackoff(), 0), **self._asking)

    def distrust(self, error: ResponseError, there: Place) -> ConnectionError:
        """The error for a server that is not the primary any more. In a cluster, that node is asked first next time."""
        if there in self.directory.places:
            self._prefer(there)
        where = f"{place(*there)} is not {self.directory.subject}"
        if isinstance(error, MovedError):
            return ConnectionError(
                f"{where}; the cluster has that slot at {place(error.host, error.port)}{self._hint()}"
            )
        if isinstance(error, AskError):
            # Do not follow it: the other node has only some of the keys yet, and a script needs all of them.
            return ConnectionError(f"{where} now: the cluster is moving the slot to {place(error.host, error.port)}")
        return ConnectionError(f"{where}: {error}")

    def _hint(self) -> str:
        return "" if self.directory.question else "; use redis+cluster:// for a cluster"

    def _settle(self, found: Place, asked: Place) -> Place:
        self._prefer(asked)
        before, self._found = self._found, found
        if before not in (None, found) and self._moved:
            self._moved()
        return found

    def _prefer(self, asked: Place) -> None:
        self.directory.places = [asked, *(one for one in self.directory.places if one != asked)]

    def _lost(self, reasons: list[str]) -> ConnectionError:
        return ConnectionError(f"cannot find {self.directory.subject}: {'; '.join(reasons)}")


def _reason(asked: Place, error: Exception) -> str:
    said = str(error) or type(error).__name__
    return said if place(*asked) in said else f"{place(*asked)}: {said}"
