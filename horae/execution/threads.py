"""Threads of a run: one for a job that wants it, and those that a job starts itself."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any


def begin(function: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Call it in a thread of its own, with this task's context variables.

    The thread may be left behind: unlike an executor's it keeps nobody from ending.
    """
    context, outcome = contextvars.copy_context(), Future[Any]()

    def call() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # SystemExit too: what a job raises is its verdict
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    outcome.set_running_or_notify_cancel()
    threading.Thread(target=call, name="run", daemon=True).start()
    return asyncio.wrap_future(outcome)


@contextmanager
def inherited() -> Iterator[None]:
    """Threads begin with the context variables of who starts them, as they can from Python 3.14 on.

    And what is handed to a pool runs with those of who handed it over: a pool's threads outlive a run.
    """
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit

    def start_in_context(self: threading.Thread) -> None:
        context, run = contextvars.copy_context(), self.run
        self.run = partial(context.run, run)  # type: ignore[method-assign]
        start(self)

    def submit_in_context(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        return submit(self, partial(contextvars.copy_context().run, fn), *args, **kwargs)

    threading.Thread.start = start_in_context  # type: ignore[method-assign]
    ThreadPoolExecutor.submit = submit_in_context  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]
        ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]
