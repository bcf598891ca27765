"""`horae store`: commands for operators of the state store."""

import typer

COMMANDS = ("upgrade",)


def command(context: typer.Context) -> int:
    """The state store: raise its schema after all processes have the new release.

    \b
    horae store upgrade --preview
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
    return 0
