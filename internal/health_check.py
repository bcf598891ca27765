"""Looks every 30 seconds whether all that this sidecar depends on is well.

Inside the sidecar because it is small, frequent, and says something about this very process: each sidecar has its own
view, and it needs no store to say that the store is away.
"""

import logging
from datetime import timedelta
from typing import Any

from horae import current_run, every, job
from horae.settings import load
from internal._health.checks import CHECKS, run_checks
from internal._health.settings import HealthSettings

log = logging.getLogger(__name__)


@job(
    schedule=every("30s"),
    scope="each",
    time_limit=timedelta(seconds=5),
    run_on_start=True,
    settings=HealthSettings,
)
async def health_check() -> dict[str, Any]:
    """Check Prefect, the store, the queue, the disk and when each job last fired.

    The run succeeds when it could look; what it saw is the result: {"ok", "checks": [{"name", "ok", "detail",
    "seconds", "figures"}]}. A check that is not configured has `ok` None and does not count.
    """
    run = current_run()
    results = await run_checks(load(run.project), run.settings or HealthSettings(), CHECKS)
    unwell = [result for result in results if result.ok is False]
    for result in unwell:
        log.warning("%s: %s", result.name, result.detail, extra={"action": "unwell", "check": result.name})
    counted = [result for result in results if result.ok is not None]
    run.report(
        "; ".join(f"{result.name}: {result.detail}" for result in unwell) or f"{len(counted)} checks are healthy"
    )
    return {"ok": not unwell, "checks": [result.as_dict() for result in results]}
