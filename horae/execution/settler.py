"""Ends claims, many in one step: claims that end during a step are settled in the next one."""

import asyncio
import logging
from collections.abc import Sequence

from horae.errors import StoreUnavailable
from horae.store.base import Claims
from horae.store.values import Settlement

log = logging.getLogger(__name__)
BATCH = 200
WAIT_SECONDS = (0.05, 0.2, 1.0, 2.0)


class Settler:
    """While the store does not answer, settlements wait here; none is dropped."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._waiting: list[tuple[Settlement, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def settle(self, settlement: Settlement) -> bool:
        """Returns when the store has it: False if the claim was stale."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((settlement, kept))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write(), name="settler")
        return await kept

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: Sequence[tuple[Settlement, asyncio.Future[bool]]]) -> None:
        try:
            answers = await self._settled([settlement for settlement, _ in batch])
        except Exception as error:
            if len(batch) > 1:
                for one in batch:
                    # an error of the store about one settlement must not affect the others
                    await self._write_batch([one])
                return
            for _, kept in batch:
                if not kept.done():
                    kept.set_exception(error)
            return
        for (_, kept), answer in zip(batch, answers, strict=True):
            if not kept.done():
                kept.set_result(answer)

    async def _settled(self, settlements: Sequence[Settlement]) -> list[bool]:
        failures = 0
        while True:
            try:
                return await self._claims.settle(settlements)
            except StoreUnavailable as error:
                log.warning("settlements wait: %s", error, extra={"action": "settlements_wait"})
                await asyncio.sleep(WAIT_SECONDS[min(failures, len(WAIT_SECONDS) - 1)])
                failures += 1
