"""docket's tasks and enqueuer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from docket import Docket

from benchmarks.apps import verbs

NAME = "bench"


async def noop() -> None: ...


async def stamp() -> None:
    verbs.stamp()


tasks = [noop, stamp]
FUNCTIONS = {"noop": noop, "stamp": stamp}


class Enqueuer:
    def __init__(self, docket: Docket) -> None:
        self._docket = docket

    async def one(self, job: str) -> None:
        await self._docket.add(FUNCTIONS[job])()

    async def many(self, job: str, count: int) -> None:
        await self._docket.add_many([self._docket.call(FUNCTIONS[job])() for _ in range(count)])


@asynccontextmanager
async def opened() -> AsyncIterator[Enqueuer]:
    async with Docket(name=NAME, url=verbs.url()) as docket:
        for function in tasks:
            docket.register(function)
        yield Enqueuer(docket)


if __name__ == "__main__":
    verbs.main(opened)
