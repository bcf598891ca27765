"""A thread for one run. It may be left behind: unlike an executor's it keeps nobody from ending."""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


def begin(function: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Call it in a thread of its own, with this task's context variables."""
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
