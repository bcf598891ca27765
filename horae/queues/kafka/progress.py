"""The progress in a partition. Kafka stores one offset for it, so messages that are done after a gap wait for the
gap.
"""

from horae.clock import monotonic


class Progress:
    """The progress in one partition of this worker."""

    def __init__(self, position: int) -> None:
        self.position = position
        """The offset of the next message that was not handed out yet."""
        self._open: dict[int, float] = {}

    def hand_out(self, offset: int) -> bool:
        """Whether the message is new here. After a rebalance Kafka delivers messages again that are not committed."""
        if offset < self.position:
            return False
        self._open[offset] = monotonic()
        self.position = offset + 1
        return True

    def finish(self, offset: int) -> None:
        """Acknowledge the message. A second call changes nothing."""
        self._open.pop(offset, None)

    @property
    def holds(self) -> bool:
        """Whether a message is handed out and not acknowledged."""
        return bool(self._open)

    @property
    def held_since(self) -> float | None:
        """When the first open message was handed out, on the monotonic clock."""
        return next(iter(self._open.values()), None)

    @property
    def done_before(self) -> int:
        """Everything before this offset is acknowledged. The offset never decreases."""
        # Messages are handed out in the order of their offsets, so the first open one has the lowest.
        return next(iter(self._open), self.position)
