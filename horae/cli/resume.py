"""`horae resume`: let a paused job, or everything, run again."""

import typer

from horae.cli.options import Json
from horae.cli.pauses import All, Optional, switch


def command(context: typer.Context, job: Optional = None, all: All = False, json: Json = False) -> int:
    """Let a paused job run again, what waited first. --all ends `pause --all`; a job that was paused by name stays so.

    \b
    horae resume database-backup
    horae resume --all
    """
    return switch(context, job, all, json, pause=False)
