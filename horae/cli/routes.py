"""Where runs wait and where they go, for commands that do without it if no store answers."""

from datetime import timedelta

from horae.errors import StoreError
from horae.settings import Settings
from horae.store.values import ProviderRuns, Routes
from horae.words import roughly, runs_wait

PATIENCE = timedelta(seconds=5)
"""A process with the provider's settings publishes a due run long before that, unless the provider is down."""


def overdue_words(runs: ProviderRuns) -> str:
    waits = f"{runs_wait(runs.outbox)} for its relay, the first for {roughly(runs.overdue)}"
    return f"{waits}: it is down, or no process has its settings"


def routes_of(settings: Settings) -> Routes | None:
    """None if no store is configured, or it does not answer."""
    if settings.store.url is None:
        return None
    from horae.store.glance import routes

    try:
        # A glance knows the URL alone.
        found = None if settings.store.given else routes(settings.store.url.get_secret_value(), settings.namespace)
        if found is None:
            import asyncio

            found = asyncio.run(_ask(settings))
        return found
    except StoreError:
        return None


async def _ask(settings: Settings) -> Routes:
    from horae.store import connect

    async with connect(settings) as store:
        return Routes(runs=await store.outbox.by_provider(), moves=await store.moves.all())
