"""The hash of a run in Redis or Valkey: how to read a `Run` from it, and the text of the message in it."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from horae.clock import from_millis
from horae.jobs.policies import Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Cause, Event, Failure, Run, State
from horae.store.values import Move

MILLI = timedelta(milliseconds=1)


def message_text(message: Message) -> str:
    """The message of generation 1 without its signature, as the row stores it. The Lua scripts derive those of later
    generations from it.
    """
    plain = message.generation == 1 and message.signature is None
    return (message if plain else message.model_copy(update={"generation": 1, "signature": None})).text()


def read_run(run_id: str, row: Mapping[str, str]) -> Run:
    """Read a run from its hash. Raises one of UNREADABLE."""
    result, message = row.get("result"), json.loads(row.get("message") or "{}")
    reason, note = reason_of(row)
    return Run(
        run_id=run_id,
        job=row["job"],
        tier=Tier(row["tier"]),
        cause=Cause(row["cause"]),
        state=State(row["state"]),
        scheduled_for=_instant(row.get("scheduled_for")),
        reason=reason,
        note=note,
        attempts=int(row.get("attempts", 0)),
        accepted_at=_instant(row.get("accepted_at")),
        not_before=_instant(row.get("due")),
        started_at=_instant(row.get("started_at")),
        ended_at=_instant(row.get("ended_at")),
        worker=row.get("worker", ""),
        provider=row.get("provider", ""),
        # Runs of another scheduler, and all runs of schema 1, have no message.
        context=dict(message.get("context") or json.loads(row.get("context") or "{}")),
        metadata=dict(message.get("metadata") or json.loads(row.get("metadata") or "{}")),
        progress=row.get("progress", ""),
        result=json.loads(result) if result else None,
        failure=Failure.parse(row.get("failure", "")),
        # Do not use splitlines(): it also splits at other characters that a note may contain.
        story=tuple(_event(line) for line in row.get("story", "").split("\n") if line),
    )


def reason_of(row: Mapping[str, str]) -> tuple[Reason | None, str]:
    """The reason of the verdict, and the note. Older rows of invalid messages have only a note, so add their reason."""
    reason, note = Reason.read(row.get("reason", ""), row.get("note", ""))
    return (Reason.INVALID_MESSAGE if reason is Reason.OTHER and "body" in row else reason), note


EVERYTHING = "*"
"""The name among paused jobs and move records that stands for all jobs."""


def moves_of(providers: Mapping[str, str], instants: Mapping[str, str]) -> dict[str | None, Move]:
    return {
        None if job == EVERYTHING else job: Move(provider=provider, at=from_millis(int(instants.get(job, 0))))
        for job, provider in providers.items()
    }


def paused_of(names: Iterable[str]) -> frozenset[str | None]:
    return frozenset(None if name == EVERYTHING else name for name in names)


def _instant(text: str | None) -> datetime | None:
    return from_millis(int(text)) if text else None


def _event(line: str) -> Event:
    at, what, generation, note = line.split("|", 3)
    return Event(at=from_millis(int(at)), what=what, generation=int(generation), note=note)


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""The exceptions of `read_run` for a row that is damaged or was written by another program."""


def run_of(run_id: str, row: Mapping[str, str]) -> Run:
    """Read a run from its hash. If that fails, return the fields that can be read, and a failure with the error."""
    try:
        return read_run(run_id, row)
    except UNREADABLE as error:
        return Run(
            run_id=run_id,
            job=row.get("job", ""),
            tier=_or(Tier, row.get("tier"), Tier.ONEIRIC),
            cause=_or(Cause, row.get("cause"), Cause.ENQUEUE),
            state=_or(State, row.get("state"), State.FAILED),
            accepted_at=_instant_or_none(row.get("accepted_at")),
            ended_at=_instant_or_none(row.get("ended_at")),
            failure=unreadable(error),
        )


def unreadable(error: BaseException) -> Failure:
    """The failure to show for a row that cannot be read."""
    return Failure(type="UnreadableRow", message=f"the store's row of this run cannot be read: {error!r}"[:LONGEST])


LONGEST = 500
"""The maximum length of an error message about a row, in characters."""


def _or[E: StrEnum](kind: type[E], text: str | None, otherwise: E) -> E:
    return kind(text) if text is not None and text in kind else otherwise


def _instant_or_none(text: str | None) -> datetime | None:
    try:
        return _instant(text)
    except UNREADABLE:
        return None
