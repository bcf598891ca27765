"""The event loop of a process that runs jobs."""

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)


class JobLoop(asyncio.SelectorEventLoop):
    """Goes on after `sys.exit()` in a task or callback that a job started.

    asyncio ends the whole loop for it. Whoever awaits that task gets the exception all the same.
    """

    goes_on_after: tuple[type[BaseException], ...] = (SystemExit, KeyboardInterrupt)

    def run_until_complete(self, future: Any) -> Any:
        main = asyncio.ensure_future(future, loop=self)
        while True:
            try:
                return super().run_until_complete(main)
            except self.goes_on_after as error:
                if main.done():
                    raise
                text = "a task that a job started raised %s; only this task ends"
                log.warning(text, type(error).__name__, extra={"action": "task_exited"})


class ForegroundLoop(JobLoop):
    """The same where Ctrl-C, pressed twice, still ends the process."""

    goes_on_after = (SystemExit,)
