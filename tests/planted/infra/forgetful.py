from horae.jobs import job
from horae.schedules import cron


@job(schedule=cron("0 2 * * *"), traits=["survives_restarts", "dag"], catch_up="none", idempotent=True)  # HR212 HR213
def forgetful() -> None:
    """Durable, but not when it matters."""
