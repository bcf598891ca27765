"""Dead letters for machines and for people, and which of them a command is about."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from horae.cli.completing import job_names
from horae.cli.run_ids import identify
from horae.errors import UsageError
from horae.scheduler.replays import letter_of
from horae.settings import Settings
from horae.store.base import DeadLetters, Ledger

RunIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[RUN_ID]...", help="Ids of failed runs, or unambiguous beginnings of at least 8 characters."
    ),
]
OfJob = Annotated[
    str | None, typer.Option("--job", metavar="JOB", autocompletion=job_names, help="All dead letters of this job.")
]
All = Annotated[bool, typer.Option("--all", help="All dead letters.")]
Yes = Annotated[
    bool,
    typer.Option("--yes", "-y", help="Do not ask. Needed for more than one dead letter if there is no terminal."),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Some by name, all of a job, or all."""

    run_ids: Sequence[str]
    job: str | None
    all: bool

    def __post_init__(self) -> None:
        if sum((bool(self.run_ids), self.job is not None, self.all)) != 1:
            raise UsageError(
                "no dead letters selected: give ids of runs, --job JOB or --all; `horae dead list` lists them"
            )

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
        raise UsageError(f"this would {what} {count} dead letters, and there is no terminal to ask on; add --yes")
    return typer.confirm(f"{what.capitalize()} {count} dead letters?", err=True)
