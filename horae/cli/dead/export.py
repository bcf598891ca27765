"""`horae dead export`: all dead letters as JSON lines."""

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from horae.cli.completing import job_names
from horae.cli.project import jobs_of, settings_of, with_store
from horae.errors import UsageError
from horae.files import written_whole
from horae.settings import Settings
from horae.shapes.dead_letters import whole_letter_shape
from horae.store.base import Store
from horae.store.values import DeadLetter
from horae.terminal import escaped

BATCH = 200
OfJob = Annotated[
    str | None, typer.Option("--job", metavar="JOB", autocompletion=job_names, help="Only dead letters of this job.")
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write the whole export to this file, or nothing. Default: stdout."
    ),
]


def command(context: typer.Context, job: OfJob = None, output: Output = None) -> int:
    """All dead letters, oldest first, as JSON lines: payload, error, traceback, history.

    \b
    horae dead export --output dead.jsonl
    horae dead export --job database-backup | jq -r .error | sort | uniq -c
    """
    settings = with_store(settings_of(context))
    with _opened(output) as file:
        count = asyncio.run(_export(settings, job, file))
        if job and not count:
            jobs_of(settings).get(job)
    print(f"horae: {count} dead letter{'s' * (count != 1)}", file=sys.stderr)
    return 0


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Stdout, or a file that takes its name once it is whole; raises UsageError for one that cannot be written."""
    if output is None:
        yield sys.stdout
        return
    try:
        with written_whole(output) as file:
            yield file
    except OSError as error:
        raise UsageError(f"--output {str(output)!r}: {error.strerror or error}") from error


async def _export(settings: Settings, job: str | None, file: TextIO) -> int:
    from horae.store import connect

    count, batch = 0, list[DeadLetter]()
    async with connect(settings) as store:
        async for letter in store.dead_letters.every(job):
            batch.append(letter)
            count += 1
            if len(batch) == BATCH:
                await _write(store, batch, file)
                batch.clear()
        await _write(store, batch, file)
    return count


async def _write(store: Store, letters: list[DeadLetter], file: TextIO) -> None:
    rows = {run.run_id: run for run in await store.ledger.many([letter.run_id for letter in letters])}
    for letter in letters:
        shape = whole_letter_shape(letter, rows.get(letter.run_id))
        # Escaped, half a surrogate pair can be written too.
        file.write(escaped(json.dumps(shape, ensure_ascii=False)) + "\n")
