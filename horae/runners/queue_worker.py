"""The queue worker: receives durable jobs from every configured provider and runs them."""

from datetime import timedelta
from typing import NoReturn

from horae.duties.consumer import Consumer
from horae.duties.duty import Duty
from horae.duties.relay import Relay
from horae.duties.sweeper import Sweeper
from horae.runners.health import HealthServer
from horae.runners.process import opened, run_to_end, serve
from horae.settings import Settings


def main(settings: Settings) -> NoReturn:
    """Run until SIGTERM or Ctrl-C, then finish within worker.grace_seconds and hand back the rest."""
    run_to_end("queue-worker", run(settings))


async def run(settings: Settings) -> int:
    """Returns the exit status; raises StartError or UnsafeStore."""
    own = settings.worker
    async with opened(settings, "queue-worker", own.slots) as process:
        listener = HealthServer(process.health, own.health_host, own.health_port, "HORAE_WORKER__HEALTH_PORT")
        lease = timedelta(seconds=own.lease_seconds)
        sources = process.queues.open_consumers(process.name)
        consumers = [
            Consumer(name, source, process.store, process.registry, process.work, process.name, lease)
            for name, source in sources.items()
        ]
        moving: list[Duty] = [
            Relay(process.store, process.queues.router, process.metrics),
            Sweeper(process.store, process.metrics, process.work.lease),
        ]
        try:
            return await serve(process, consumers, moving, listener, own.grace_seconds)
        finally:
            for source in sources.values():
                await source.close()
