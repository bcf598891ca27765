"""The clock that internal jobs go by: the host's, held steady while it is unknown whether a step of it is right."""

from collections.abc import Callable
from datetime import datetime, timedelta

from horae import clock

STEP = timedelta(seconds=1)
"""A host's clock that moves by more than this between two looks has stepped; less is ordinary correction."""


class SteadyClock:
    """`now()` follows the host's clock, but not over a step: it goes on by the monotonic clock until `adopt` is called.

    `trusts_host`: a step is adopted when it is noticed, because nobody else knows the time.
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
        """How far the host's clock is ahead of this one; negative when it is behind."""
        self._anchor(wall())

    def _anchor(self, instant: datetime) -> None:
        self._began, self._began_at = instant, self._monotonic()

    def now(self) -> datetime:
        """Aware, in UTC."""
        return self._began + timedelta(seconds=self._monotonic() - self._began_at)

    @property
    def wall(self) -> datetime:
        """What the host's clock shows."""
        return self._wall()

    def notice(self) -> timedelta | None:
        """Look at the host's clock; returns by how much it stepped since the last look, None if it did not."""
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
        """Go on from that instant: the host's clock where it is right, another's where it is not."""
        self._anchor(instant)
        ahead = self._wall() - instant
        self.ahead = ahead if abs(ahead) > STEP else timedelta(0)
