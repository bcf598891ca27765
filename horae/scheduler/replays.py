"""Replays: a dead letter is taken up by a new run, which names the old one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from horae.errors import HoraeError, InvalidMessage, MessageTooLarge, NotReplayable, UnknownName
from horae.messages import Message
from horae.store.base import DeadLetters, Ledger
from horae.store.values import DeadLetter, NewRun

NAMED = 5
"""Dead letters that are named beside one that is not there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """What is to be different from the run that failed."""

    context: Mapping[str, Any] = field(default_factory=dict)
    """Values that it gets instead of the old ones, or beside them."""
    without: Collection[str] = ()
    """Keys of the old context that it does not get."""
    reason: str = ""
    """Why somebody replays it; kept in its metadata as `replay_reason`."""

    def applied(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in context.items() if key not in self.without} | dict(self.context)


AS_IT_WAS = Edit()


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A dead letter, and the run that would take it up."""

    letter: DeadLetter
    new: NewRun | None
    """None: none can."""
    refused: NotReplayable | None = None
    """Why, and what to do."""


def message_of(letter: DeadLetter, limit_bytes: int) -> Message:
    """What the letter says is to be run; raises NotReplayable for a body that is no message.

    One that was too old, or too large then, may be a message all the same.
    """
    if letter.message is not None:
        return letter.message
    try:
        return Message.decode(letter.body.encode(), limit_bytes)
    except (InvalidMessage, MessageTooLarge) as error:
        raise NotReplayable(
            f"{letter.run_id} cannot be replayed: what came is no message ({error.message}), so nobody can say what to "
            f"run; `horae dead show {letter.run_id}` prints it. Have the right one sent, or say `horae enqueue JOB "
            f"--context KEY=VALUE`, and then `horae dead drop {letter.run_id}`"
        ) from error


def refused(letter: DeadLetter, error: HoraeError) -> NotReplayable:
    """Why no run can take the letter up, and what to do."""
    if isinstance(error, NotReplayable):
        return error
    if isinstance(error, UnknownName) and error.kind == "job":
        hint = f"did you mean {error.nearest!r}? " if error.nearest else ""
        why = (
            f"no job {error.given!r} is registered any more, {hint}bring it back, or `horae enqueue` the one that took "
            f"its place with this context, and then `horae dead drop {letter.run_id}`"
        )
    else:
        why = f"{error.message}; --context KEY=VALUE and --without KEY change what it gets"
    return NotReplayable(f"{letter.run_id} cannot be replayed: {why}")


def metadata_of(letter: DeadLetter, message: Message, reason: str) -> dict[str, Any]:
    """The old run's, without the time at which it was to run, and with what it replays."""
    old = {key: value for key, value in message.metadata.items() if key not in ("schedule_time", "replay_reason")}
    return old | {"replays": letter.run_id} | ({"replay_reason": reason} if reason else {})


async def letter_of(ledger: Ledger, letters: DeadLetters, run_id: str) -> DeadLetter:
    """The dead letter of that run; raises UnknownName, or NotReplayable for a run that has none (any more)."""
    letter = await letters.get(run_id)
    if letter is not None:
        return letter
    found = await ledger.run(run_id)
    if found is None:
        raise UnknownName("dead letter", run_id, [one.run_id for one in await letters.newest(NAMED)])
    if found.replayed_as:
        raise NotReplayable(f"{run_id} was replayed already, as {found.replayed_as}; `horae show {found.replayed_as}`")
    if any(event.what == "dropped" for event in found.story):
        raise NotReplayable(f"the dead letter of {run_id} was dropped; `horae enqueue {found.job}` runs the job anew")
    raise NotReplayable(
        f"{run_id} is no dead letter: it is a run of {found.job} that is {found.state.value}; only durable runs that "
        "failed leave one, and `horae dead list` lists them"
    )
