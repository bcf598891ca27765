"""`horae dead drop`: let dead letters go."""

import asyncio

import typer

from horae.cli.dead.letters import All, OfJob, RunIds, Selection, Yes, confirm
from horae.cli.options import Json
from horae.cli.project import settings_of, with_store
from horae.settings import Settings


def command(
    context: typer.Context,
    run_ids: RunIds = None,
    job: OfJob = None,
    all: All = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Let dead letters go. What the ledger says of the runs stays, as long as of any settled run.

    \b
    horae dead drop 6c7b7f0e
    horae dead drop --job database-backup --yes
    """
    selection = Selection(run_ids=run_ids or (), job=job, all=all)
    settings = with_store(settings_of(context))
    run_ids = asyncio.run(_ids(settings, selection))
    if not run_ids:
        selection.known(settings)
    if not confirm("drop", len(run_ids), yes):
        return 1
    dropped = asyncio.run(_drop(settings, run_ids))
    if json:
        from horae.cli.output import print_json

        print_json({"dropped": dropped})
    else:
        print(f"dropped {dropped} dead letter{'s' * (dropped != 1)}")
    return 0


async def _ids(settings: Settings, selection: Selection) -> list[str]:
    from horae.store import connect

    async with connect(settings) as store:
        named = await selection.ids(store.ledger, store.dead_letters)
        if named is not None:
            return named
        return await store.dead_letters.ids(selection.job)


async def _drop(settings: Settings, run_ids: list[str]) -> int:
    from horae.store import connect

    async with connect(settings) as store:
        return await store.dead_letters.drop(run_ids)
