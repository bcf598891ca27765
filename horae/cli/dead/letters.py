"""Dead letters for machines and for people, and which of them a command is about."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from horae import clock
from horae.cli.run_ids import identify
from horae.errors import UsageError
from horae.runs import Run
from horae.scheduler.replays import letter_of
from horae.settings import Settings
from horae.store.base import DeadLetters, Ledger
from horae.store.values import DeadLetter

RunIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN_ID]...", help="Ids of runs that failed, or unambiguous beginnings of 8 characters or more."
    ),
]
OfJob = Annotated[str | None, typer.Option("--job", metavar="JOB", help="All dead letters of this job.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Without a terminal, more than one needs it.")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Some by name, all of a job, or all."""

    run_ids: Sequence[str]
    job: str | None
    all: bool

    def __post_init__(self) -> None:
        if sum((bool(self.run_ids), self.job is not None, self.all)) != 1:
            raise UsageError("say which: ids of runs, or --job JOB, or --all; `horae dead list` lists them")

    async def ids(self, ledger: Ledger, letters: DeadLetters) -> list[str] | None:
        """Of the named ones; None for a filter. Raises UnknownName, or NotReplayable for a run without a letter."""
        if not self.run_ids:
            return None
        found = []
        for given in self.run_ids:
            letter = await letters.get(given)
            found.append(letter.run_id if letter else (await identify(ledger, given)).run_id)
        for run in found:
            await letter_of(ledger, letters, run)
        return list(dict.fromkeys(found))

    def known(self, settings: Settings) -> None:
        """A job without letters may be one that never was; raises UnknownName."""
        if self.job is not None:
            from horae.cli.project import jobs_of

            jobs_of(settings).get(self.job)


def confirm(what: str, count: int, yes: bool) -> bool:
    """Ask before something is done to more than one; raises UsageError where nobody can be asked."""
    if count <= 1 or yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what} {count} dead letters, and there is no terminal to ask on; say --yes")
    return typer.confirm(f"{what.capitalize()} {count} dead letters?", err=True)


def summary(letter: DeadLetter) -> dict[str, Any]:
    """docs/reference/json.md"""
    failure = letter.failure
    return {
        "run_id": letter.run_id,
        "job": letter.job or None,
        "at": clock.isoformat(letter.at),
        "reason": letter.reason.value if letter.reason else None,
        "note": letter.note or None,
        "error": f"{failure.type}: {failure.message}" if failure else None,
        "is_message": letter.message is not None,
    }


def whole(letter: DeadLetter, run: Run | None) -> dict[str, Any]:
    """docs/reference/json.md"""
    from horae.cli.stories import story_shape, timeline

    message = letter.message
    return summary(letter) | {
        "message": message.model_dump(mode="json", by_alias=False, exclude={"generation"}) if message else None,
        "body": None if message else letter.body,
        "traceback": (letter.failure.traceback or None) if letter.failure else None,
        "cause": run.cause.value if run else None,
        "attempts": run.attempts if run else 0,
        "story": story_shape(timeline(run)) if run else [],
    }
