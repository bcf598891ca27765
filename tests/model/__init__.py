"""A model of the store in plain Python, independent of the product. The state machines compare the store with it."""

from collections.abc import Callable
from datetime import datetime

from horae.clock import now as system_now
from horae.settings import StoreSettings
from tests.model.books import Books
from tests.model.claims import ModelClaims
from tests.model.cursors import ModelCursors
from tests.model.dead_letters import ModelDeadLetters
from tests.model.ledger import ModelLedger
from tests.model.moves import ModelMoves
from tests.model.notices import ModelNotices
from tests.model.outbox import ModelOutbox
from tests.model.pauses import ModelPauses


class ModelStore:
    """A whole store in the memory of this process."""

    def __init__(
        self,
        namespace: str = "horae",
        clock: Callable[[], datetime] = system_now,
        settings: StoreSettings | None = None,
    ) -> None:
        self.namespace = namespace
        self._clock = clock
        books = Books(namespace, clock, settings or StoreSettings())
        self.outbox = ModelOutbox(books)
        self.claims = ModelClaims(books)
        self.pauses = ModelPauses(books)
        self.moves = ModelMoves(books)
        self.cursors = ModelCursors(books)
        self.ledger = ModelLedger(books)
        self.dead_letters = ModelDeadLetters(books)
        self.notices = ModelNotices(books)

    async def check(self) -> None:
        return None

    async def now(self) -> datetime:
        return self._clock()

    async def close(self) -> None:
        return None
