"""Pauses, in memory."""

from horae.store.memory.books import Noun


class MemoryPauses(Noun):
    async def pause(self, job: str | None = None) -> None:
        with self.books.lock:
            self.books.paused.add(job)

    async def resume(self, job: str | None = None) -> int:
        books = self.books
        with books.lock:
            books.paused.discard(job)
            return sum(books.release(one) for one in ([job] if job else list(books.waiting)))

    async def paused(self) -> frozenset[str | None]:
        return frozenset(self.books.paused)
