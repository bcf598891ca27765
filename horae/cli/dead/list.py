"""`horae dead list`: the dead letters, newest first."""

import asyncio
from typing import Annotated

import typer

from horae import clock
from horae.cli.completing import job_names
from horae.cli.options import Json
from horae.cli.project import jobs_of, settings_of, with_store
from horae.reasons import worded
from horae.settings import Settings
from horae.store.values import DeadLetter

OfJob = Annotated[
    str | None, typer.Option("--job", metavar="JOB", autocompletion=job_names, help="Only dead letters of this job.")
]
Limit = Annotated[
    int, typer.Option("--limit", "-n", min=1, max=100_000, help="List at most this many, the newest first.")
]


def command(context: typer.Context, job: OfJob = None, limit: Limit = 20, json: Json = False) -> int:
    """The dead letters, newest first: when, which job, why.

    \b
    horae dead list --job database-backup
    """
    settings = with_store(settings_of(context))
    letters = asyncio.run(_letters(settings, job, limit))
    if job and not letters:
        jobs_of(settings).get(job)  # a job that was removed still has its letters; a name that never was has none
    if json:
        from horae.cli.output import print_json
        from horae.shapes.dead_letters import letter_shape

        print_json([letter_shape(letter) for letter in letters])
    else:
        _draw(letters)
    return 0


async def _letters(settings: Settings, job: str | None, limit: int) -> list[DeadLetter]:
    from horae.store import connect

    async with connect(settings) as store:
        return await store.dead_letters.newest(limit, job)


def _draw(letters: list[DeadLetter]) -> None:
    from horae.cli.columns import print_columns

    if not letters:
        print("no dead letters")
        return
    print_columns(
        ("when", "job", "reason", "run id", "error"),
        [
            (
                clock.isoformat(letter.at.replace(microsecond=0)),
                letter.job or "(none)",
                (worded(letter.reason, letter.note), "red"),
                letter.run_id,
                letter.failure.words if letter.failure else "",
            )
            for letter in letters
        ],
        below=("error", "run id"),
    )
