"""Claims: the store's word that this worker, and no other, runs this run now."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from horae.clock import to_millis
from horae.jobs import Overlap
from horae.messages import Message
from horae.runs import Verdict
from horae.store.base import Answer, Claim, Hold, Lapsed, NewRun, Settlement, Wanted
from horae.store.redis.connection import Connection
from horae.store.redis.outbox import row_of

MILLI = timedelta(milliseconds=1)


class RedisClaims:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        rows = [_row(want) for want in wanted]
        answers = await self._connection.call("claims", "claim", wanted=rows, worker=worker, lease=lease // MILLI)
        return [_claim(want.message, answer) for want, answer in zip(wanted, answers, strict=True)]

    async def begin(self, run: NewRun, overlap: Overlap, worker: str, lease: timedelta) -> Claim:
        answer = await self._connection.call(
            "claims",
            "begin",
            run=row_of(run),
            overlap=overlap.value,
            worker=worker,
            lease=lease // MILLI,
        )
        message = Message(
            job=run.job,
            run=run.id,
            scheduled_for=run.scheduled_for,
            context=dict(run.context),
        )
        return _claim(message, answer)

    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Hold]:
        held = [{"id": claim.message.run, "token": claim.token} for claim in claims]
        answers = self._connection.call_blocking("claims", "renew", claims=held, lease=lease // MILLI)
        return [Hold(answer) for answer in answers]

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        rows = [_settlement(settlement) for settlement in settlements]
        return [answer == 1 for answer in await self._connection.call("claims", "settle", settlements=rows)]

    async def sweep(self, limit: int) -> list[Lapsed]:
        flat = await self._connection.call("claims", "sweep", limit=limit)
        return [
            Lapsed(
                run=id,
                job=job,
                verdict=Verdict(verdict) if verdict else None,
                worker=worker,
            )
            for id, job, verdict, worker in (flat[start : start + 4] for start in range(0, len(flat), 4))
        ]

    async def report(self, claim: Claim, text: str) -> None:
        await self._connection.call("claims", "report", id=claim.message.run, token=claim.token, text=text)


def _row(want: Wanted) -> dict[str, Any]:
    message = want.message
    return {
        "id": message.run,
        "job": message.job,
        "tier": want.tier.value,
        "attempt": message.attempt,
        "scheduled_for": str(to_millis(message.scheduled_for)) if message.scheduled_for else "",
        "lane": message.lane.value,
        "context": json.dumps(message.context),
        "metadata": json.dumps(message.metadata),
        "overlap": want.overlap.value,
        "catch_up": want.catch_up.value,
        "known": want.known,
    }


def _claim(message: Message, answer: list[Any]) -> Claim:
    kind, token, attempts, failures, reason = answer
    return Claim(
        message=message,
        answer=Answer(kind),
        token=token,
        attempts=attempts,
        failures=failures,
        reason=reason,
    )


def _settlement(settlement: Settlement) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": settlement.claim.message.run,
        "token": settlement.claim.token,
        "reason": settlement.reason,
    }
    if settlement.verdict:
        row["verdict"] = settlement.verdict.value
    if settlement.retry_after is not None:
        row["retry_after"] = settlement.retry_after // MILLI
    if settlement.failure:
        row["failure"] = json.dumps(asdict(settlement.failure))
    if settlement.result is not None:
        row["result"] = json.dumps(settlement.result)
    return row
