"""`horae logs RUN_ID`: the log and the output of a run."""

import asyncio
import sys

import typer

from horae.cli.options import Json, RunId
from horae.cli.project import settings_of, with_store
from horae.cli.run_ids import identify
from horae.jobs.policies import Tier
from horae.runs import Run
from horae.settings import Settings


def command(context: typer.Context, run_id: RunId, json: Json = False) -> int:
    """Print the log and the output of a run. The log of a flow run comes from Prefect.

    \b
    horae logs 6c7b7f0e
    """
    found, lines = asyncio.run(_log(with_store(settings_of(context)), run_id))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import log_shape

        print_json(log_shape(found, lines))
        return 0
    for line in lines:
        print(line)
    if not lines:
        print(f"horae: run {found.run_id} of {found.job} ({found.state.value}) wrote nothing", file=sys.stderr)
    return 0


async def _log(settings: Settings, given: str) -> tuple[Run, list[str]]:
    from horae.store import connect

    async with connect(settings) as store:
        run = await identify(store.ledger, given)
        if run.tier is not Tier.PREFECT:
            return run, await store.ledger.log(run.run_id)
    from horae.prefect.flow_runs import prefect_of

    async with prefect_of(settings) as prefect:
        return run, await prefect.log(run.metadata["flow_run"])
