"""Calling a job's function: what it gives back is awaited if it can be, and what it raises is put in words."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from typing import Any

from horae.errors import UsageError
from horae.execution.failures import exits_well, raised
from horae.execution.results import summary

LAZY = (Awaitable, Generator, AsyncGenerator)
"""Results whose body has not run yet."""


async def outcome_of(call: Callable[[], Any]) -> Any:
    """What is kept of the result, after awaiting it; `call` may return something to await.

    Raises RunFailed for whatever the job raises, cancellation too: who asked for it, only the caller knows.
    """
    try:
        return summary(await resolved(call()))
    except BaseException as error:
        return _ended_by(error)


def result_of(call: Callable[[], Any]) -> Any:
    """What `call` returns, as it is; raises RunFailed for whatever it raises."""
    try:
        return call()
    except BaseException as error:
        return _ended_by(error)


async def resolved(value: Any) -> Any:
    """The value, or what comes of awaiting it: a decorator may hide that a function is async."""
    while issubclass(type(value), Awaitable):  # by its class: looking at the value itself may raise
        value = await value
        await asyncio.sleep(0)  # what gives back something to await for ever is stopped by its time limit
    if issubclass(type(value), LAZY):
        raise UsageError("the job returned a generator, so its body did not run; return a value instead")
    return value


def called(function: Callable[..., Any] | None, context: Mapping[str, Any]) -> Any:
    """Call a job's function, in a process of its own without an event loop; what can be awaited is awaited.

    Raises what the job raises.
    """
    assert function, "a flow has no function"
    result = function(**context)
    return asyncio.run(resolved(result)) if issubclass(type(result), LAZY) else result


def _ended_by(error: BaseException) -> None:
    if not exits_well(error):
        raise raised(error) from None
