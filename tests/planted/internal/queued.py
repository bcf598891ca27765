from datetime import timedelta

from horae import job
from horae import every


@job(  # HR311 HR312 HR313 HR314 HR315 HR316
    schedule=every("10s"),
    provider="redis",
    catch_up="all",
    overlap="queue",
    unique_by=(),
    time_limit=timedelta(seconds=6),
)
async def queued() -> None:
    """Internal, through a queue."""
