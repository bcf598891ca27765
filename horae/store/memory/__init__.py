"""The store in this process's memory, for scripts and tests: the same rules, gone with the process."""

from collections.abc import Callable
from datetime import datetime, timedelta

from horae.clock import now as system_now
from horae.store.memory.books import Books
from horae.store.memory.claims import MemoryClaims
from horae.store.memory.cursors import MemoryCursors
from horae.store.memory.dead_letters import MemoryDeadLetters
from horae.store.memory.ledger import MemoryLedger
from horae.store.memory.notices import MemoryNotices
from horae.store.memory.outbox import MemoryOutbox
from horae.store.memory.pauses import MemoryPauses


class MemoryStore:
    """Every part of it in this process; nothing outlives it. Unbounded: it is for scripts and tests."""

    def __init__(
        self,
        namespace: str = "horae",
        clock: Callable[[], datetime] = system_now,
        late_after: timedelta = timedelta(seconds=60),
    ) -> None:
        self.namespace = namespace
        self._clock = clock
        books = Books(namespace, clock, late_after)
        self.outbox = MemoryOutbox(books)
        self.claims = MemoryClaims(books)
        self.pauses = MemoryPauses(books)
        self.cursors = MemoryCursors(books)
        self.ledger = MemoryLedger(books)
        self.dead_letters = MemoryDeadLetters(books)
        self.notices = MemoryNotices(books)

    async def check(self) -> None:
        return None

    async def now(self) -> datetime:
        return self._clock()

    async def close(self) -> None:
        return None
