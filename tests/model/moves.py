"""Move records of the model."""

from horae.store.values import Move
from tests.model.books import Noun


class ModelMoves(Noun):
    async def move(self, provider: str, job: str | None = None) -> None:
        with self.books.lock:
            self.books.moves[job] = Move(provider=provider, at=self.books.clock())

    async def end(self, provider: str, job: str | None = None) -> bool:
        with self.books.lock:
            found = job in self.books.moves and self.books.moves[job].provider == provider
            if found:
                del self.books.moves[job]
            return found

    async def follow(self, provider: str) -> int:
        books, moved = self.books, 0
        with books.lock:
            for run_id, due in list(books.outbox.items()):
                if books.rows[run_id].run.provider == provider:
                    books.hand_out(run_id, due)
                    books.recall(run_id, provider)
                    moved += books.rows[run_id].run.provider != provider
            return moved

    async def all(self) -> dict[str | None, Move]:
        with self.books.lock:
            return dict(self.books.moves)
