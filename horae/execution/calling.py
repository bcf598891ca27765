"""Calls a job's function. An awaitable result is awaited, and an exception is converted to text."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

from horae.errors import UsageError
from horae.execution.failures import exits_well, raised
from horae.execution.results import summary

LAZY = (Awaitable, Generator, AsyncGenerator)
"""Types of results whose body has not run yet."""


async def outcome_of(call: Callable[[], Any]) -> Any:
    """The result to keep, after awaiting it; `call` may return an awaitable. Raises RunFailed for every exception of
    the job, also for a cancellation, because only the caller knows who asked for it.
    """
    try:
        return summary(await resolved(call()))
    except BaseException as error:
        return _ended_by(error)


def result_of(call: Callable[[], Any]) -> Any:
    """The result of `call`, unchanged; raises RunFailed for every exception."""
    try:
        return call()
    except BaseException as error:
        return _ended_by(error)


async def resolved(value: Any) -> Any:
    """The value, or the awaited result of it: a decorator may hide that a function is async."""
    if issubclass(type(value), Awaitable):  # check the class, because looking at the value itself may raise
        value = await value
    if value is None:  # most often, and checking a class takes longer than all else here
        return None
    while issubclass(type(value), Awaitable):
        value = await value
        await asyncio.sleep(0)  # a function that always returns another awaitable is stopped by its time limit
    if issubclass(type(value), LAZY):
        raise UsageError("the job returned a generator, so its body did not run; return a value instead")
    return value


def called(function: Callable[..., Any] | None, context: Mapping[str, Any]) -> Any:
    """Call a job's function in a process without an event loop, and await an awaitable result. Raises what the
    job raises.
    """
    assert function, "a flow has no function"
    result = function(**context)
    return asyncio.run(resolved(result)) if issubclass(type(result), LAZY) else result


def _ended_by(error: BaseException) -> None:
    if not exits_well(error):
        raise raised(error) from None
