"""Claims: only the worker that holds the claim of a run may run it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from hashlib import sha1
from typing import Any

from pydantic import ValidationError

from horae.clock import to_millis
from horae.jobs.policies import Overlap, Tier
from horae.messages import FIRST_GENERATIONS, Message
from horae.runs import Verdict
from horae.store.redis.connection import Connection, batches
from horae.store.redis.outbox import row_of
from horae.store.rows import MILLI, message_text
from horae.store.values import Answer, Cancelled, Claim, Lapsed, NewRun, Policy, Settlement, Stop, Wanted

BATCH = 200
RENEWALS_A_CALL = 1000


class RedisClaims:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        answers = [answer for batch in batches(wanted, BATCH) for answer in await self._claimed(batch, worker, lease)]
        for want, answer in zip(wanted, answers, strict=True):
            if start := answer[6:7]:
                await self._supersede(want.message.job, start[0])
        return [
            _claim(_own_message(want.message, answer), answer) for want, answer in zip(wanted, answers, strict=True)
        ]

    async def _claimed(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[list[Any]]:
        known = {want.message.job: want.policy for want in wanted if want.policy}
        policies = {job: _policy(policy) for job, policy in known.items()}
        fixed = {"policies": policies, "worker": worker, "lease": lease // MILLI}
        rows = [[want.message.run_id, want.message.job, want.message.generation, _digest(want)] for want in wanted]
        answers: list[list[Any]] = await self._connection.call("claims", "claim", durable=True, wanted=rows, **fixed)
        no_row = [place for place, answer in enumerate(answers) if answer[0] == Answer.NO_ROW]
        strangers = [place for place in no_row if wanted[place].adopt]
        for place in [place for place in strangers if wanted[place].message.generation > FIRST_GENERATIONS]:
            answers[place] = [Answer.TOO_OLD.value, 0, 0, 0, 0, f"its generation is over {FIRST_GENERATIONS}"]
            strangers.remove(place)
        if strangers:
            again = [[*rows[place], _record(wanted[place])] for place in strangers]
            later = await self._connection.call("claims", "claim", durable=True, wanted=again, **fixed)
            for place, answer in zip(strangers, later, strict=True):
                answers[place] = answer
        return answers

    async def _supersede(self, job: str, start: str) -> None:
        """Settle the older fires that a claim left, step by step."""
        while start:
            start = await self._connection.call("claims", "supersede", job=job, start=start)

    async def begin(
        self,
        run: NewRun,
        overlap: Overlap,
        worker: str,
        lease: timedelta,
        *,
        concurrency: int | None = None,
        waits: bool = False,
    ) -> Claim:
        answer = await self._connection.call(
            "claims",
            "begin",
            run=row_of(run),
            overlap=overlap.value,
            most=Policy(overlap=overlap, concurrency=concurrency).most,
            waits=waits,
            worker=worker,
            lease=lease // MILLI,
        )
        return _claim(run.message, answer)

    async def again(self, attempt: Settlement) -> bool:
        row = _settlement(attempt)
        wanted = {key: row[key] for key in ("id", "token", "reason", "note", "failure") if key in row}
        failed = attempt.retry_after is not None and not attempt.died
        answer: int = await self._connection.call("leases", "again", **wanted, failed=failed)
        return answer == 1

    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Stop | None]:
        stops: list[Stop | None] = []
        for batch in batches(claims, RENEWALS_A_CALL):
            held = [[claim.message.run_id, claim.token] for claim in batch]
            answers = self._connection.call_blocking("leases", "renew", claims=held, lease=lease // MILLI)
            stops += [Stop(answer) if answer else None for answer in answers]
        return stops

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        done: list[bool] = []
        for batch in batches(settlements, BATCH):
            rows = [_settlement(settlement) for settlement in batch]
            done += [answer == 1 for answer in await self._connection.call("leases", "settle", settlements=rows)]
        return done

    async def sweep(self, limit: int) -> list[Lapsed]:
        lapsed = json.loads(await self._connection.call("leases", "sweep", limit=limit))
        return [
            Lapsed(
                run_id=one["id"],
                job=one["job"],
                verdict=Verdict(one["verdict"]) if "verdict" in one else None,
                worker=one["worker"],
            )
            for one in lapsed
        ]

    async def report(self, claim: Claim, text: str) -> None:
        await self._connection.call("leases", "report", id=claim.message.run_id, token=claim.token, text=text)

    async def cancel(self, run_id: str) -> Cancelled:
        return Cancelled(await self._connection.call("leases", "cancel", id=run_id))


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "overlap": policy.overlap.value,
        "catch_up": policy.catch_up.value,
        "window": policy.catch_up_window // MILLI,
        "most": policy.most,
    }


def _record(want: Wanted) -> dict[str, Any]:
    """The row to accept at the claim for a message without one."""
    message = want.message
    record: dict[str, Any] = {
        "id": message.run_id,
        "job": message.job,
        "tier": Tier.ONEIRIC.value,
        "generation": message.generation,
        "scheduled_for": str(to_millis(message.scheduled_for)) if message.scheduled_for else "",
        "priority": message.priority.value,
        "message": message_text(message),
        "unique": want.unique,
    }
    return record | ({"made": to_millis(made)} if (made := message.made_at) else {})


def _digest(want: Wanted) -> str:
    """Of the delivered message, as a row stores it. The body of a first generation is that already, if Horae wrote it.
    With another body, the store returns the message of the row.
    """
    message = want.message
    first = want.body and message.generation == 1 and not message.signature
    return sha1(want.body if first else message_text(message).encode(), usedforsecurity=False).hexdigest()


def _own_message(delivered: Message, answer: list[Any]) -> Message:
    """The message of the row, so that nobody who can write to a broker changes what a known run does. A row without a
    message, or with one that cannot be read, leaves the delivered one.
    """
    text = str(answer[7]) if len(answer) > 7 else ""
    if not text:
        return delivered
    try:
        stored = Message.model_validate_json(text)
    except ValidationError:
        return delivered
    own = ("scheduled_for", "priority", "context", "metadata")
    return delivered.model_copy(update={name: getattr(stored, name) for name in own})


def _claim(message: Message, answer: list[Any]) -> Claim:
    kind, token, attempts, failures, suspect, reason = answer[:6]
    return Claim(
        message=message,
        answer=Answer(kind),
        token=token,
        attempts=attempts,
        failures=failures,
        alone=suspect == 1,
        reason=reason,
    )


def _settlement(settlement: Settlement) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": settlement.claim.message.run_id,
        "token": settlement.claim.token,
        "reason": settlement.reason or "",
        "note": settlement.note,
    }
    if settlement.verdict:
        row["verdict"] = settlement.verdict.value
    if settlement.retry_after is not None:
        row["retry_after"] = settlement.retry_after // MILLI
    if settlement.died:
        row["died"] = True
    if settlement.failure:
        row["failure"] = json.dumps(asdict(settlement.failure))
    if settlement.result is not None:
        row["result"] = json.dumps(settlement.result)
    return row
