from datetime import timedelta

from horae import job


@job(traits=["dashboard"], time_limit=timedelta(seconds=5))  # HR301 HR401
async def shown() -> None:
    """Internal, with a dashboard."""
