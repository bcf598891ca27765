"""Measures every minute this process, its machine, the queues, the ledger and Prefect, for Prometheus.

Inside the sidecar because it measures this very process and machine, is small, and shows its figures on the sidecar's
own /metrics. Each sidecar measures for itself, with or without the store.
"""

import logging
from datetime import timedelta
from typing import Any

from horae import current_run, every, job
from horae.settings import load
from internal._metrics.measurements import MEASUREMENTS, measure
from internal._metrics.settings import MetricsSettings

log = logging.getLogger(__name__)


@job(schedule=every("1m"), scope="each", time_limit=timedelta(seconds=5), settings=MetricsSettings)
async def metrics_collection() -> dict[str, Any]:
    """Measure process, host, queues, ledger and Prefect; it changes nothing.

    Returns {"ok", "checks": [{"name", "ok", "detail", "figures"}]}, which the sidecar shows on /metrics. What could not
    be measured has `ok` false and no figures; what is not configured has `ok` null.
    """
    run = current_run()
    found = await measure(load(run.project), run.settings or MetricsSettings(), MEASUREMENTS)
    missing = [one for one in found if one.ok is False]
    for one in missing:
        log.warning(
            "cannot measure %s: %s", one.name, one.detail, extra={"action": "not_measured", "measured": one.name}
        )
    absent = [one.name for one in found if one.ok is None]
    said = [f"cannot measure {one.name}: {one.detail}" for one in missing]
    said += [f"not configured: {', '.join(absent)}"] if absent else []
    run.report("; ".join([*said, f"{sum(len(one.figures) for one in found)} figures"]))
    return {"ok": not missing, "checks": [one.as_dict() | {"name": f"metrics/{one.name}"} for one in found]}
