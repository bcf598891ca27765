"""Up to where a partition is done. Kafka keeps one number for it, so what is done after a gap waits for the gap."""

from horae.clock import monotonic


class Progress:
    """Of one partition that this worker owns."""

    def __init__(self, position: int) -> None:
        self.position = position
        """Offset of the next message that has not been handed out yet."""
        self._open: dict[int, float] = {}

    def hand_out(self, offset: int) -> bool:
        """Whether the message is new here. After a rebalance Kafka sends again what is not committed."""
        if offset < self.position:
            return False
        self._open[offset] = monotonic()
        self.position = offset + 1
        return True

    def finish(self, offset: int) -> None:
        """The message is acknowledged; a second time changes nothing."""
        self._open.pop(offset, None)

    @property
    def holds(self) -> bool:
        """Something is handed out and not acknowledged."""
        return bool(self._open)

    @property
    def held_since(self) -> float | None:
        """When the first message that is open was handed out, by the monotonic clock."""
        return next(iter(self._open.values()), None)

    @property
    def done_before(self) -> int:
        """Everything before this offset is acknowledged. It never goes back."""
        # Messages are handed out by growing offset, so the first that is open is the lowest.
        return next(iter(self._open), self.position)
