"""`horae sidecar`: the process that fires jobs, runs internal jobs and publishes the outbox."""

from typing import Annotated, NoReturn

import typer

from horae.cli.project import settings_of

Start = Annotated[str | None, typer.Option("--start", metavar="ID", hidden=True)]
"""`horae up` gives each of its starts a name."""


def command(context: typer.Context, start: Start = None) -> NoReturn:
    """Run the sidecar until SIGTERM or Ctrl-C. `horae up` does this for you.

    \b
    HORAE_STORE__URL=redis://db:6379/0 horae sidecar
    """
    from horae.runners.sidecar import main

    main(settings_of(context), start)
