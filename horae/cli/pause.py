"""`horae pause`: keep a job, or everything, from running."""

import typer

from horae.cli.options import Json
from horae.cli.pauses import All, Optional, switch


def command(context: typer.Context, job: Optional = None, all: All = False, json: Json = False) -> int:
    """Keep a job, or everything, from running until `horae resume`; what runs already runs to its end.

    Fires and enqueued runs of a durable job wait, or are skipped by its catch_up policy; fires of an internal job are
    skipped; Prefect pauses a flow's deployment.

    \b
    horae pause database-backup
    horae pause --all
    """
    return switch(context, job, all, json, pause=True)
