from datetime import timedelta

from horae import job


@job(time_limit=timedelta(seconds=5))  # HR402
async def rotation() -> None:
    """A name that is taken."""
