from datetime import timedelta

from horae import job


@job(traits=["multi_machine", "survives_restarts"], time_limit=timedelta(seconds=5))  # HR303 HR304 HR401
async def spread() -> None:
    """Internal, on several machines."""
