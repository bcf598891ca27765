"""`horae pause`: prevent runs of a job, or of all jobs."""

import typer

from horae.cli.options import Json
from horae.cli.pauses import All, Optional, switch


def command(context: typer.Context, job: Optional = None, all: All = False, json: Json = False) -> int:
    """Prevent runs of a job, or of all jobs, until `horae resume`. Active runs continue to their end.

    Fires and enqueued runs of a durable job wait, or are skipped if its catch_up policy says so. Fires of an internal
    job are skipped. For a flow, Prefect pauses the deployment.

    \b
    horae pause database-backup
    horae pause --all
    """
    return switch(context, job, all, json, pause=True)
