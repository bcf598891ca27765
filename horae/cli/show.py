"""`horae show RUN_ID`: the whole story of a run."""

import asyncio

import typer

from horae.cli.options import Json, RunId
from horae.cli.project import settings_of, with_store
from horae.cli.run_ids import identify
from horae.runs import Run
from horae.settings import Settings


def command(context: typer.Context, run_id: RunId, json: Json = False) -> int:
    """Show the whole story of a run: accepted, published, claimed, attempts, waits, verdict, error and result.

    \b
    horae show 6c7b7f0e
    """
    found = asyncio.run(_find(with_store(settings_of(context)), run_id))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.runs import whole_run_shape

        print_json(whole_run_shape(found))
    else:
        from horae.cli.stories import draw

        draw(found)
    return 0


async def _find(settings: Settings, given: str) -> Run:
    from horae.store import connect

    async with connect(settings) as store:
        return await identify(store.ledger, given)
