"""`horae receiver`: the process that brokers such as Google Cloud Tasks call."""

from typing import NoReturn

import typer

from horae.cli.project import settings_of


def command(context: typer.Context) -> NoReturn:
    """Run a receiver until SIGTERM or Ctrl-C: Google Cloud Tasks calls it for each durable run.

    \b
    HORAE_STORE__URL=redis://db:6379/0 HORAE_QUEUE__CLOUDTASKS__LISTEN_HOST=0.0.0.0 horae receiver
    """
    from horae.runners.receiver import main

    main(settings_of(context))
