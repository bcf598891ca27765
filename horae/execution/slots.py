"""The slots of a process: how many runs it may have at once. Consumers reserve slots before they receive."""

import asyncio


class Slots:
    """All consumers of a process share its slots, so several full providers never give more runs than there are slots.

    Consumers get slots in the order in which they ask, so none starves.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._used = self._reserved = self._asking = self._sharers = 0
        self._turn, self._freed = asyncio.Lock(), asyncio.Event()

    @property
    def free(self) -> int:
        """Slots that are neither used by a run nor reserved."""
        return max(0, self._total - self._used - self._reserved)

    @property
    def wanted(self) -> bool:
        """Whether a consumer waits for a slot."""
        return self._asking > 0

    def join(self) -> None:
        """Call this once for each consumer."""
        self._sharers += 1

    @property
    def shared(self) -> bool:
        """Whether there are several consumers."""
        return self._sharers > 1

    async def reserve(self, most: int) -> int:
        """Wait until a slot is free, and reserve up to `most`. Returns how many. Give each back with `release`.

        One slot is left for each other consumer that waits.
        """
        self._asking += 1
        try:
            async with self._turn:
                while not self.free:
                    self._freed.clear()
                    await self._freed.wait()
                count = max(1, min(most, self.free - (self._asking - 1)))
                self._reserved += count
                return count
        finally:
            self._asking -= 1

    def release(self, count: int) -> None:
        """Give back reserved slots. A run that was begun in one of them uses a slot by now."""
        self._reserved -= count
        self._freed.set()

    def use(self) -> None:
        """A run begins. Runs that no consumer received, such as those of `horae run`, may exceed the total."""
        self._used += 1

    def end(self) -> None:
        """A run ended."""
        self._used -= 1
        self._freed.set()
