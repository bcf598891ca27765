from datetime import timedelta

from horae import job


@job(time_limit=timedelta(minutes=6))  # HR302
async def long() -> None:
    """Internal, for hours."""
