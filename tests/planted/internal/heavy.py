import _planted_heavy  # HR706

from datetime import timedelta

from horae import job


@job(time_limit=timedelta(seconds=5))
async def heavy() -> None:
    """Loads a lot."""
