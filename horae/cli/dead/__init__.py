"""`horae dead`: the dead letters of durable runs that failed."""

import typer

COMMANDS = ("list", "show", "replay", "drop", "export")


def command(context: typer.Context) -> int:
    """Dead letters: durable runs that failed finally, and invalid messages.

    \b
    horae dead list
    horae dead show 6c7b7f0e
    horae dead replay --job database-backup --preview
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0
