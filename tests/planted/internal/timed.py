import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from horae import job


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper() -> Any:
        return function()

    return wrapper


@job(time_limit=timedelta(seconds=5))  # HR725
@plain
async def timed() -> None:
    """Its decorator is not async."""
