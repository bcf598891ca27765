"""`horae worker`: the process that runs durable jobs."""

from typing import NoReturn

import typer

from horae.cli.project import settings_of


def command(context: typer.Context) -> NoReturn:
    """Run a queue worker until SIGTERM or Ctrl-C. `horae up` does this for you.

    \b
    HORAE_STORE__URL=redis://db:6379/0 HORAE_WORKER__SLOTS=8 horae worker
    """
    from horae.runners.queue_worker import main

    main(settings_of(context))
