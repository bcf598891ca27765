"""Notices of the model."""

from collections.abc import Sequence

from horae.store.values import Notice
from tests.model.books import Noun


class ModelNotices(Noun):
    async def take(self, limit: int) -> list[Notice]:
        with self.books.lock:
            return [self.books.notices.popleft() for _ in range(min(limit, len(self.books.notices)))]

    async def put_back(self, notices: Sequence[Notice]) -> None:
        with self.books.lock:
            self.books.notices.extendleft(reversed(notices))
