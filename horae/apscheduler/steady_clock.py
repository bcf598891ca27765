"""The clock of the internal jobs: the host's clock, but a step of it counts only after it is confirmed."""

from collections.abc import Callable
from datetime import datetime, timedelta

from horae import clock

STEP = timedelta(seconds=1)
"""A larger difference between two looks at the host's clock is a step. A smaller one is ordinary correction."""


class SteadyClock:
    """`now()` follows the host's clock until it steps. Then it continues on the monotonic clock until `adopt` is
    called. `trusts_host`: accept a step at once, because there is no other source of time.
    """

    def __init__(
        self,
        *,
        trusts_host: bool = True,
        wall: Callable[[], datetime] = clock.now,
        monotonic: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._wall, self._monotonic, self._trusts_host = wall, monotonic, trusts_host
        self.ahead = timedelta(0)
        """How far the host's clock is ahead of this one. Negative: it is behind."""
        self._anchor(wall())

    def _anchor(self, instant: datetime) -> None:
        self._began, self._began_at = instant, self._monotonic()

    def now(self) -> datetime:
        """The time, aware and in UTC."""
        return self._began + timedelta(seconds=self._monotonic() - self._began_at)

    @property
    def wall(self) -> datetime:
        """The time of the host's clock."""
        return self._wall()

    def notice(self) -> timedelta | None:
        """Look at the host's clock. Returns the size of its step since the last look; None if it did not step."""
        wall = self._wall()
        moved = wall - self.now() - self.ahead
        if abs(moved) <= STEP:
            if not self.ahead:
                self._anchor(wall)
            return None
        if self._trusts_host:
            self._anchor(wall)
        else:
            self.ahead += moved
        return moved

    def adopt(self, instant: datetime) -> None:
        """Continue from this instant, which is the host's time if that is right, or another clock's time."""
        self._anchor(instant)
        ahead = self._wall() - instant
        self.ahead = ahead if abs(ahead) > STEP else timedelta(0)
