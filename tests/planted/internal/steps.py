from datetime import timedelta

from horae import job
from horae import every


@job(  # HR321 HR721 HR722 HR724
    schedule=every("1h"),
    traits=["dag"],
    isolation="thread",
    jitter=timedelta(hours=1),
    time_limit=timedelta(seconds=5),
)
def steps(path: str) -> None:
    """Internal, in many steps."""
