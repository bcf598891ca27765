"""Threads of a run: a thread for a job that needs one, and the threads that a job starts itself."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any


def begin(function: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Call it in its own thread, with this task's context variables. The thread may be left alone: unlike a thread of
    an executor, it does not block the end of the process.
    """
    context, outcome = contextvars.copy_context(), Future[Any]()

    def call() -> None:
        try:
            result = context.run(function)
        except BaseException as error:  # also SystemExit, because every exception of a job fails the run
            outcome.set_exception(error)
        else:
            outcome.set_result(result)

    outcome.set_running_or_notify_cancel()
    threading.Thread(target=call, name="run", daemon=True).start()
    return asyncio.wrap_future(outcome)


@contextmanager
def inherited() -> Iterator[None]:
    """Threads get the context variables of the thread that starts them, as in Python 3.14. A task in a thread pool gets
    those of the caller that submitted it, because the threads of a pool live longer than a run.
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
