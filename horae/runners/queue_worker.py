"""The queue worker: receives durable jobs from every configured provider and runs them."""

from contextlib import AsyncExitStack
from functools import partial
from typing import NoReturn

from horae.execution.guardian import Guard
from horae.queues.closing import close_all
from horae.runners.health import HealthServer
from horae.runners.process import opened, run_to_end, serve
from horae.settings import Settings


def main(settings: Settings) -> NoReturn:
    """Run until SIGTERM or Ctrl-C. Then finish runs within worker.grace_seconds and hand back the rest."""
    run_to_end("queue-worker", settings, partial(run, settings))


async def run(settings: Settings, guard: Guard | None = None) -> int:
    """Returns the exit status; raises StartError, UnsafeStore, or InvalidSettings."""
    own = settings.worker
    async with opened(settings, "queue-worker", own.slots, guard) as process, AsyncExitStack() as stack:
        place = process.place
        listener = HealthServer(process.health, own.health_host, own.health_port, "HORAE_WORKER__HEALTH_PORT")
        sources = place.open_sources()
        stack.push_async_callback(close_all, sources.values())
        consumers = [place.consumer(provider, source, process.registry) for provider, source in sources.items()]
        return await serve(process, consumers, place.movers(), listener, own.grace_seconds)
