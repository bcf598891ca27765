from collections.abc import Iterator
from datetime import timedelta

from horae import job


@job(time_limit=timedelta(seconds=5))  # HR723
def lazy() -> Iterator[int]:
    """Never starts."""
    yield 1
