"""`horae up`: everything on this machine."""

from typing import Annotated

import typer

from horae.cli.options import Json
from horae.cli.project import configured
from horae.errors import UsageError

Once = Annotated[
    bool, typer.Option("--once", help="Run each job with run_on_start to its end, print the verdicts, and stop.")
]


NoReload = Annotated[bool, typer.Option("--no-reload", help="Do not reload job files that change.")]


def command(context: typer.Context, once: Once = False, no_reload: NoReload = False, json: Json = False) -> int:
    """Start everything on this machine and show all jobs in one live table; Ctrl-C stops it.

    What is configured by URL is used instead of started. Job files that are added or changed are taken up, and it says
    so. With --once the exit status is 0 only if all jobs ran.

    \b
    horae up
    horae up --once --json
    """
    if json and not once:
        raise UsageError("--json is given without --once; add --once, or run `horae jobs --json` while `horae up` runs")
    from horae.up.up import main

    return main(configured(context), once=once, as_json=json, reloads=not no_reload)
