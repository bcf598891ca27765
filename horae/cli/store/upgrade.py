"""`horae store upgrade`: write rows as this release spells them. The release before cannot read them."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from horae.cli.options import Json
from horae.cli.project import settings_of, with_store
from horae.errors import UsageError
from horae.redis.keys import SCHEMA
from horae.settings import Settings

if TYPE_CHECKING:
    from horae.store.redis.schema import SchemaState

SHOWN = 5
Preview = Annotated[bool, typer.Option("--preview", help="Print what the command would do, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask. Needed if there is no terminal.")]
Despite = Annotated[
    bool,
    typer.Option("--despite-older", help="Upgrade even if there are connections that may be of an older release."),
]


def command(
    context: typer.Context,
    preview: Preview = False,
    yes: Yes = False,
    despite_older: Despite = False,
    json: Json = False,
) -> int:
    """Raise the store's schema, so that rows and notices are written as this release spells them.

    Run it once every process (sidecars, workers, programs with a Scheduler) has this release: an older process that
    is still connected may lose runs, and the older release no longer starts on the store. There is no way back.
    Processes of this release need no restart. Interrupted, it may be run again. Exit 1 if nothing was upgraded
    because of connections that may be of an older release.

    \b
    horae store upgrade --preview
    horae store upgrade --yes
    """
    settings = with_store(settings_of(context))
    state, rewritten = asyncio.run(_upgrade(settings, preview=preview, yes=yes, despite_older=despite_older))
    if json:
        from horae.cli.output import print_json
        from horae.shapes.store import upgrade_shape

        print_json(upgrade_shape(state, rewritten))
    else:
        print(_sentence(state, rewritten))
    return 0 if preview or rewritten is not None else 1


async def _upgrade(
    settings: Settings, *, preview: bool, yes: bool, despite_older: bool
) -> tuple["SchemaState", int | None]:
    """The state before, and how many rows were rewritten; None where nothing was done."""
    from horae.store.redis.schema import opened

    async with opened(settings) as schema:
        state = await schema.state()
        if state.schema < SCHEMA:
            _warn(state)
            if preview or (state.older and not despite_older) or not _confirmed(yes):
                return state, None
        elif preview:
            return state, None
        return state, await schema.upgrade()


def _warn(state: "SchemaState") -> None:
    if state.older is None:
        said = (
            "the server does not tell which client libraries are connected. Stop all processes of an older "
            "release before the upgrade"
        )
        print(f"horae: {said}", file=sys.stderr)
        return
    for one in state.older[:SHOWN]:
        said = f"{one.address}, connected for {one.age_seconds} s, last command {one.last_command}"
        print(f"horae: this connection may be of an older release: {said}", file=sys.stderr)
    if len(state.older) > SHOWN:
        print(f"horae: … and {len(state.older) - SHOWN} more such connections", file=sys.stderr)
    if state.older:
        said = (
            "stop the processes of the older release; if these connections are of other programs, add --despite-older"
        )
        print(f"horae: {said}", file=sys.stderr)


def _confirmed(yes: bool) -> bool:
    """Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError("this cannot be undone, and there is no terminal to ask on; add --yes or --preview")
    return typer.confirm(f"Raise the store's schema to {SCHEMA}? The previous release cannot read it.", err=True)


def _sentence(state: "SchemaState", rewritten: int | None) -> str:
    if rewritten is not None:
        return f"the store has schema {SCHEMA}; {rewritten} of {state.runs} runs were rewritten"
    if state.schema == SCHEMA:
        return f"the store already has schema {SCHEMA}"
    could = f"an upgrade to {SCHEMA} rewrites up to {state.runs} runs"
    return f"the store has schema {state.schema}, unchanged; {could}"
