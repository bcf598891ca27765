"""`horae dead`: what durable runs that failed left behind."""

import typer

COMMANDS = ("list", "show", "replay", "drop", "export")


def command(context: typer.Context) -> int:
    """Dead letters: what durable runs that failed for good left behind, and messages that are no run.

    \b
    horae dead list
    horae dead show 6c7b7f0e
    horae dead replay --job database-backup --preview
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0
