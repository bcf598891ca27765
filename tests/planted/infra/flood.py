from horae import job
from horae import every


@job(schedule=every("10s"), traits=["infrastructure"], idempotent=True)  # HR201
def flood() -> None:
    """Durable, every ten seconds."""
