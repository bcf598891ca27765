"""Pauses of the model."""

from tests.model.books import Noun


class ModelPauses(Noun):
    async def pause(self, job: str | None = None) -> None:
        with self.books.lock:
            self.books.paused.add(job)

    async def resume(self, job: str | None = None) -> int:
        books = self.books
        with books.lock:
            books.paused.discard(job)
            return sum(books.release(one) for one in ([job] if job else sorted(books.waiting)))

    async def paused(self) -> frozenset[str | None]:
        with self.books.lock:
            return frozenset(self.books.paused)
