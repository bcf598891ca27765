"""The outbox: runs wait here until they are due."""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import itemgetter
from typing import Any

from horae.clock import from_millis, to_millis
from horae.errors import StoreUnavailable, StoreUncertain
from horae.messages import GENERATIONS, Message
from horae.store.limits import LOOKS
from horae.store.redis.connection import Connection, batches
from horae.store.rows import MILLI, UNREADABLE
from horae.store.values import Accepted, Due, NewRun, ProviderRuns, Taken, Upcoming

log = logging.getLogger(__name__)
BATCH = 200
SORTED_A_CALL = 1000
"""How many entries of the outbox `sort` looks at. The call takes about two milliseconds."""


def row_of(run: NewRun) -> dict[str, Any]:
    """The argument of the Lua functions for a new run: no nulls, instants in milliseconds, nested JSON as text."""
    row: dict[str, Any] = {
        "id": run.run_id,
        "job": run.job,
        "tier": run.tier.value,
        "cause": run.cause.value,
        "scheduled_for": str(to_millis(run.scheduled_for)) if run.scheduled_for else "",
        "priority": run.priority.value,
        "provider": run.provider,
        "message": run.text,
    }
    if run.pinned:
        row["pinned"] = True
    if run.due:
        row["due"] = str(to_millis(run.due))
    if run.verdict:
        row |= {"verdict": run.verdict.value, "reason": run.reason or ""}
    more = {"unique": run.unique, "replays": run.replays}
    return row | {key: value for key, value in more.items() if value}


def _unsaid(runs: Sequence[NewRun], known: int, error: StoreUnavailable) -> StoreUnavailable:
    """The error for the caller: which runs may have been accepted, and how to find out."""
    if isinstance(error, StoreUncertain):
        first, others = runs[known].run_id, len(runs) - known - 1
        more = f" and {others} more" if others else ""
        return StoreUncertain(
            f"the store may have accepted {first}{more}: ask with `horae show {first}`, or enqueue again with the "
            f"same run_id, which never makes a second run. {error}"
        )
    if known:
        return StoreUncertain(
            f"the store accepted {known} of {len(runs)} runs, up to {runs[known - 1].run_id}. {error}"
        )
    return error


class RedisOutbox:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sorted_to = "0"
        self._seen_to: dict[str, str] = {}
        """Up to where `upcoming` has looked, by provider."""

    async def accept(self, runs: Sequence[NewRun], hold: timedelta = timedelta(0)) -> list[Accepted]:
        accepted: list[Accepted] = []
        for batch in batches(runs, BATCH):
            rows = [row_of(run) for run in batch]
            try:
                answers = await self._connection.call("intake", "accept", durable=True, runs=rows, hold=hold // MILLI)
            except StoreUnavailable as error:
                raise _unsaid(runs, len(accepted), error) from error
            accepted += [
                Accepted(
                    run_id=run_id,
                    job=run.job,
                    provider=provider,
                    due=run.due,
                    new=new == 1,
                    published=sent == 1,
                )
                for run, (run_id, new, sent, provider) in zip(batch, answers, strict=True)
            ]
        return accepted

    async def take(self, providers: Sequence[str], limit: int, hold: timedelta) -> Taken:
        published, millis, *flat = await self._connection.call(
            "outbox", "take", providers=list(providers), limit=limit, hold=hold // MILLI
        )
        return Taken(
            entries=await self._readable(_due, [flat[start : start + 4] for start in range(0, len(flat), 4)]),
            published=published,
            next_in=None if millis < 0 else millis * MILLI,
        )

    async def upcoming(self, provider: str, within: timedelta) -> list[Upcoming]:
        start = self._seen_to.get(provider, "0")
        self._seen_to[provider], *flat = await self._connection.call(
            "outbox", "upcoming", provider=provider, within=within // MILLI, start=start, limit=LOOKS
        )
        found = await self._readable(_upcoming, [flat[start : start + 5] for start in range(0, len(flat), 5)])
        return sorted(found, key=lambda one: (one.due, one.message.run_id))

    async def placed(self, messages: Sequence[Message]) -> None:
        for batch in batches(messages, BATCH):
            runs = [[message.run_id, message.generation] for message in batch]
            await self._connection.call("outbox", "placed", runs=runs)

    async def _readable[E](self, read: Callable[..., E], entries: Sequence[Sequence[Any]]) -> list[E]:
        """The entries that can be read. The others become dead letters."""
        found, unreadable = list[E](), list[str]()
        for run_id, *rest in entries:
            try:
                found.append(read(run_id, *rest))
            except UNREADABLE as error:
                extra = {"action": "row_unreadable", "run_id": run_id}
                log.error("set aside the row of run %s, which cannot be read: %r", run_id, error, extra=extra)
                unreadable.append(run_id)
        if unreadable:
            await self.set_aside(unreadable)
        return found

    async def publish_own(self, limit: int) -> int:
        published: int = await self._connection.call("outbox", "publish_own", limit=limit)
        return published

    async def set_aside(self, run_ids: Sequence[str]) -> None:
        """Turn runs whose rows cannot be read into dead letters, so that no duty reads them again."""
        await self._connection.call("outbox", "set_aside", runs=list(run_ids))

    async def published(self, messages: Sequence[Message], provider: str = "") -> None:
        where: dict[str, Any] = {"provider": provider} if provider else {}
        for batch in batches(messages, BATCH):
            runs = [[message.run_id, message.generation] for message in batch]
            await self._connection.call("outbox", "published", runs=runs, **where)

    async def republish(self, provider: str, age: timedelta, note: str, limit: int) -> int:
        found: int = await self._connection.call(
            "outbox", "republish", provider=provider, age=age // MILLI, note=note, limit=limit
        )
        return found

    async def by_provider(self) -> list[ProviderRuns]:
        found = json.loads(await self._connection.call("outbox", "by_provider"))
        return [
            ProviderRuns(
                provider=one["provider"],
                outbox=one["outbox"],
                overdue=one["overdue"] * MILLI,
                queued=one["queued"],
                oldest=one["oldest"] * MILLI,
            )
            for one in sorted(found or (), key=itemgetter("provider"))  # Lua encodes an empty list as `{}`
        ]

    async def sort(self) -> None:
        self._sorted_to = await self._connection.call("outbox", "sort", start=self._sorted_to, limit=SORTED_A_CALL)


def _due(run_id: str, message: str, generation: str, resent: str | int) -> Due:
    """Raises one of UNREADABLE."""
    first = Message.model_validate_json(message)
    if first.run_id != run_id or not 1 <= int(generation) <= GENERATIONS:
        raise ValueError(f"run_id {first.run_id}, generation {generation}")
    return Due(message=first.model_copy(update={"generation": int(generation)}).again(int(resent)))


def _upcoming(run_id: str, message: str, generation: str, resent: str | int, due: str) -> Upcoming:
    """Raises one of UNREADABLE."""
    return Upcoming(message=_due(run_id, message, generation, resent).message, due=from_millis(int(due)))
