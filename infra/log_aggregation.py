"""Collects the entries of logs into Parquet files, hourly.

It runs on the queue because it is infrastructure that must survive restarts: the next run collects what was written
while nothing ran. It may run twice: a run adds its entries and moves its offsets in one step, or does neither.
"""

from datetime import timedelta
from typing import Any

from horae import Retry, cron, current_run, job
from infra._logs.settings import LogSettings


@job(
    name="log-aggregation",
    schedule=cron("5 * * * *"),
    traits={"infrastructure", "survives_restarts"},
    time_limit=timedelta(minutes=30),
    retry=Retry(retries=2, base_delay=timedelta(seconds=30), not_on=("LogsNotCollected",)),
    idempotent=True,
    settings=LogSettings,
)
def log_aggregation(*, dry_run: bool = False) -> dict[str, Any]:
    """Collect the new entries of the followed logs, count them, and drop the oldest days.

    `dry_run` reads and counts, and changes nothing. The run fails at its end if a followed log could not be read; all
    other logs are collected by then.
    """
    from infra._logs.aggregation import aggregate

    run = current_run()
    return aggregate(run, run.settings or LogSettings(), dry_run)
