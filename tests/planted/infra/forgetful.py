from horae import job
from horae import cron


@job(schedule=cron("0 2 * * *"), traits=["survives_restarts", "dag"], catch_up="none", idempotent=True)  # HR212 HR213
def forgetful() -> None:
    """Durable, but not when it matters."""
