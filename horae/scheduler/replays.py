"""Replays: a new run repeats the failed run of a dead letter, and names it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from horae.errors import HoraeError, InvalidMessage, MessageTooLarge, NotReplayable, UnknownName
from horae.messages import Message
from horae.store.base import DeadLetters, Ledger
from horae.store.values import DeadLetter, NewRun

NAMED = 5
"""The most dead letters that an error about an unknown one lists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """The changes of a replay against the failed run."""

    context: Mapping[str, Any] = field(default_factory=dict)
    """Context values that replace or extend the old ones."""
    without: Collection[str] = ()
    """Keys of the old context to remove."""
    reason: str = ""
    """The reason for the replay; stored in the new run's metadata as `replay_reason`."""

    def applied(self, context: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in context.items() if key not in self.without} | dict(self.context)


AS_IT_WAS = Edit()


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """A dead letter, and the new run that would replay it."""

    letter: DeadLetter
    new: NewRun | None
    """None: none can."""
    refused: NotReplayable | None = None
    """The reason why no run can replay it, and what to do."""


def message_of(letter: DeadLetter, limit_bytes: int) -> Message:
    """The message in the letter; raises NotReplayable if the body is not a message.

    A message that was refused for its age or size can still be replayed.
    """
    if letter.message is not None:
        return letter.message
    try:
        return Message.decode(letter.body.encode(), limit_bytes)
    except (InvalidMessage, MessageTooLarge) as error:
        raise NotReplayable(
            f"{letter.run_id} cannot be replayed, because its content is not a valid message ({error.message}). "
            f"`horae dead show {letter.run_id}` prints the content. Send the right message again, or run `horae "
            f"enqueue JOB --context KEY=VALUE`. Then run `horae dead drop {letter.run_id}`"
        ) from error


def refused(letter: DeadLetter, error: HoraeError) -> NotReplayable:
    """An error that says why no run can replay the letter, and what to do."""
    if isinstance(error, NotReplayable):
        return error
    if isinstance(error, UnknownName) and error.kind == "job":
        hint = f"did you mean {error.nearest!r}? " if error.nearest else ""
        why = (
            f"no job {error.given!r} is registered now; {hint}restore it, or `horae enqueue` its successor with "
            f"this context; then run `horae dead drop {letter.run_id}`"
        )
    else:
        why = f"{error.message}; change the context with --context KEY=VALUE and --without KEY"
    return NotReplayable(f"{letter.run_id} cannot be replayed: {why}")


def metadata_of(letter: DeadLetter, message: Message, reason: str) -> dict[str, Any]:
    """The metadata of the old run without `schedule_time`, with the id of the replayed run and the reason."""
    old = {key: value for key, value in message.metadata.items() if key not in ("schedule_time", "replay_reason")}
    return old | {"replays": letter.run_id} | ({"replay_reason": reason} if reason else {})


async def letter_of(ledger: Ledger, letters: DeadLetters, run_id: str) -> DeadLetter:
    """The dead letter of a run. Raises UnknownName, or NotReplayable if the run has no dead letter now."""
    letter = await letters.get(run_id)
    if letter is not None:
        return letter
    found = await ledger.run(run_id)
    if found is None:
        raise UnknownName("dead letter", run_id, [one.run_id for one in await letters.newest(NAMED)])
    if found.replayed_as:
        raise NotReplayable(
            f"{run_id} was already replayed as {found.replayed_as}; `horae show {found.replayed_as}` shows the new run"
        )
    if any(event.what == "dropped" for event in found.story):
        raise NotReplayable(f"the dead letter of {run_id} was dropped; `horae enqueue {found.job}` runs the job anew")
    raise NotReplayable(
        f"{run_id} is not a dead letter, but a run of {found.job} with the state {found.state.value}. Only durable "
        "runs that failed leave a dead letter; `horae dead list` lists them"
    )
