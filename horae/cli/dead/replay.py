"""`horae dead replay`: run again what failed, as new runs that name the old ones."""

import asyncio
import sys
from collections.abc import Sequence
from json import dumps
from typing import TYPE_CHECKING, Annotated

import typer

from horae.cli.dead.fates import all_well, foretold, settle
from horae.cli.dead.letters import All, OfJob, RunIds, Selection, Yes, confirm
from horae.cli.options import Context, Json, context_of
from horae.cli.project import jobs_of, settings_of, with_store
from horae.errors import StoreUnavailable
from horae.scheduler.replays import Edit
from horae.settings import Settings
from horae.shapes.dead_letters import Fate, Outcome

if TYPE_CHECKING:
    from horae.scheduler.scheduler import Scheduler

BATCH = 200
SHOWN = 20
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="The reason; `horae show` prints it.")]
Without = Annotated[
    list[str] | None,
    typer.Option("--without", metavar="KEY", help="Leave this key out of the old context. May be repeated."),
]
Preview = Annotated[bool, typer.Option("--preview", help="Print what the command would do, and change nothing.")]


def command(
    context: typer.Context,
    run_ids: RunIds = None,
    job: OfJob = None,
    all: All = False,
    reason: Reason = "",
    given: Context = None,
    without: Without = None,
    preview: Preview = False,
    yes: Yes = False,
    json: Json = False,
) -> int:
    """Run again what failed: each dead letter becomes a new run with cause `replay`, which names the old one.

    What --context gives takes the place of the old value, or is added. Exit 1 if one could not be replayed.

    \b
    horae dead replay 6c7b7f0e --context keep_days=7 --reason "disk was full"
    horae dead replay --job database-backup --preview
    """
    selection = Selection(run_ids=run_ids or (), job=job, all=all)
    edit = Edit(context=context_of(given), without=without or (), reason=reason)
    settings = with_store(settings_of(context))
    fates = asyncio.run(_replay(settings, selection, edit, preview=preview, yes=yes))
    if not fates:
        selection.known(settings)
    if json:
        from horae.cli.output import print_json
        from horae.shapes.dead_letters import fate_shape

        print_json([fate_shape(fate) for fate in fates])
    else:
        _draw(fates, preview)
    return 0 if all_well(fates) else 1


async def _replay(settings: Settings, selection: Selection, edit: Edit, *, preview: bool, yes: bool) -> list[Fate]:
    """Raises before the first is replayed: for one that was named and cannot be, or when nobody can be asked."""
    from horae.scheduler.scheduler import Scheduler

    async with Scheduler(settings, jobs_of(settings)).lifecycle() as scheduler:
        ids = await selection.ids(scheduler.ledger, scheduler.dead_letters)
        fates: dict[str, Fate] = {}
        async for letter in scheduler.dead_letters.every(selection.job, ids):
            planned = scheduler.planned(letter, edit)
            if planned.refused and ids and not preview:
                raise planned.refused
            fates[letter.run_id] = foretold(planned)
        wanted = [fate for fate in fates.values() if fate.outcome is Outcome.WOULD]
        if not preview:
            if not confirm("replay", len(wanted), yes):
                raise typer.Exit(1)
            await _do(scheduler, wanted, edit)
    return list(fates.values())


async def _do(scheduler: "Scheduler", wanted: Sequence[Fate], edit: Edit) -> None:
    """A batch at a time; each letter is read again, and goes in the step that accepts its run."""
    for fate in wanted:
        fate.outcome = Outcome.GONE
    for start in range(0, len(wanted), BATCH):
        batch = {fate.letter: fate for fate in wanted[start : start + BATCH]}
        letters = [letter async for letter in scheduler.dead_letters.every(run_ids=list(batch))]
        replays = [one for letter in letters if (one := scheduler.planned(letter, edit)).new]
        try:
            accepted = await scheduler.replay_all(replays)
        except StoreUnavailable as error:
            done = sum(fate.outcome is Outcome.REPLAYED for fate in wanted)
            raise StoreUnavailable(
                f"{error.message}; {done} dead letters were replayed; run the command again for the rest"
            ) from error
        for one, became in zip(replays, accepted, strict=True):
            settle(batch[one.letter.run_id], became)


def _draw(fates: Sequence[Fate], preview: bool) -> None:
    from horae.cli.columns import print_columns

    if not fates:
        print("no dead letters")
        return
    rows = [
        (
            fate.letter,
            fate.job or "(none)",
            (fate.outcome.value, "green" if all_well([fate]) else "red"),
            fate.run_id or "",
            dumps(fate.context, ensure_ascii=False) if preview and fate.context else "",
        )
        for fate in fates[:SHOWN]
    ]
    print_columns(("dead letter", "job", "outcome", "as", "context"), rows, below=("context", "as"))
    if len(fates) > SHOWN:
        print(f"… and {len(fates) - SHOWN} more; --json prints all of them")
    for fate in fates[:SHOWN]:
        if fate.why:
            print(f"horae: {fate.why}", file=sys.stderr)
