"""`horae resume`: let a paused job, or all jobs, run again."""

import typer

from horae.cli.options import Json
from horae.cli.pauses import All, Optional, switch


def command(context: typer.Context, job: Optional = None, all: All = False, json: Json = False) -> int:
    """Let a paused job run again; waiting runs run first. --all ends `pause --all`, but not the pause of a single job.

    \b
    horae resume database-backup
    horae resume --all
    """
    return switch(context, job, all, json, pause=False)
