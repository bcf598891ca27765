"""`horae logs RUN`: what a run wrote."""

import asyncio
import sys
from typing import Annotated

import typer

from horae.cli.options import Json
from horae.cli.project import settings_of, with_store
from horae.errors import UnknownName, UsageError
from horae.jobs import Tier
from horae.runs import Run
from horae.settings import Settings
from horae.store.base import Ledger

SEARCHED = 1000
"""Among so many of the newest runs the beginning of an id is looked for."""
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or an unambiguous beginning or end of it.")]


def command(context: typer.Context, run: RunId, json: Json = False) -> int:
    """What a run wrote: its prints and its log. A flow run's log comes from Prefect.

    \b
    horae logs 6c7b7f0e
    """
    found, lines = asyncio.run(_log(with_store(settings_of(context)), run))
    if json:
        from horae.cli.output import print_json

        print_json({"run": found.id, "job": found.job, "state": found.state.value, "lines": lines})
        return 0
    for line in lines:
        print(line)
    if not lines:
        print(f"horae: run {found.id} of {found.job} ({found.state.value}) wrote nothing", file=sys.stderr)
    return 0


async def _log(settings: Settings, given: str) -> tuple[Run, list[str]]:
    from horae.store import connect

    async with connect(settings) as store:
        run = await _find(store.ledger, given)
        if run.tier is not Tier.PREFECT:
            return run, await store.ledger.log(run.id)
    from horae.flow_runs import prefect_of

    async with prefect_of(settings) as prefect:
        return run, await prefect.log(run.metadata["flow_run"])


async def _find(ledger: Ledger, given: str) -> Run:
    """Raises UnknownName, or UsageError for an ambiguous beginning."""
    exact = await ledger.run(given)
    if exact is not None:
        return exact
    runs = await ledger.runs(limit=SEARCHED)
    matching = [run for run in runs if run.id.startswith(given) or run.id.endswith(given)]
    if len(matching) > 1:
        shown = ", ".join(f"{run.id} ({run.job})" for run in matching[:3])
        raise UsageError(f"{given!r} could be one of {len(matching)} runs: {shown}; give more of it")
    if not matching:
        raise UnknownName("run", given, [run.id for run in runs[:5]])
    return matching[0]
