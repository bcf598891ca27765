"""Scans repositories for security problems, weekly, Sundays at 04:00 UTC.

It runs on the queue because it is infrastructure that must survive restarts: a scan that was due while everything was
down is caught up. It may run twice: it writes only its own reports, and a second attempt reports the same findings as
new.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from horae import Retry, cron, current_run, job
from infra._scan.settings import ScanSettings


@job(
    name="security-scan",
    schedule=cron("0 4 * * 0"),
    traits={"infrastructure", "survives_restarts"},
    time_limit=timedelta(hours=2),
    retry=Retry(retries=1, base_delay=timedelta(minutes=1), not_on=("NewFindings", "ScanFailed")),
    idempotent=True,
    settings=ScanSettings,
)
def security_scan(
    *, repos: Sequence[str] | None = None, accept: Sequence[str] = (), dry_run: bool = False
) -> dict[str, Any]:
    """Scan code, files, history, permissions and container files of every repository, and say what is new.

    `repos` takes the place of the configured ones for this run. `accept` adds findings to the baseline, by fingerprint,
    or `all`. `dry_run` scans and writes nothing. The run fails when a tool fails, and on new findings (`fail_at`).
    """
    from infra._scan.session import scan_all

    run = current_run()
    return scan_all(run, run.settings or ScanSettings(), repos, accept, dry_run)
