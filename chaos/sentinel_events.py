"""When the Sentinels name another primary."""

from types import TracebackType
from typing import Any, Self

from horae.clock import monotonic, now
from tests.redis_servers import Watched, client_of


class Switches:
    """Use it as a context, from before the failover."""

    def __init__(self, sentinels: Watched) -> None:
        self._client = client_of(sentinels.sentinels[0].port)
        self._events: Any = self._client.pubsub()

    def __enter__(self) -> Self:
        self._events.subscribe("+switch-master")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._events.close()
        self._client.close()

    def wait(self, seconds: float) -> float:
        """The instant of the next one, in seconds since the Unix epoch; raises AssertionError after so long."""
        until = monotonic() + seconds
        while monotonic() < until:
            said = self._events.get_message(ignore_subscribe_messages=True, timeout=0.5)
            if said:
                return now().timestamp()
        raise AssertionError("no failover")
