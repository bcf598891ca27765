from datetime import timedelta

from horae.jobs import job
from horae.schedules import every


@job(schedule=every("10s"), provider="redis", catch_up="all", time_limit=timedelta(seconds=6))  # HR311 HR312 HR313 HR314
async def queued() -> None:
    """Internal, through a queue."""
