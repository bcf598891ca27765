"""The state store: Redis or Valkey, or memory for scripts and tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horae.settings import Settings
from horae.store.base import Store

__all__ = ["Store", "connect"]


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Store]:
    """The configured store; `memory` when none is configured.

    It connects when it is first used. `check()` raises StoreUnavailable, or UnsafeStore for one that could lose what
    it accepts; so does every later step.
    """
    if settings.store.url is None:
        from horae.store.memory import MemoryStore

        yield MemoryStore(settings.namespace)
        return
    from horae.store.redis import RedisStore

    store = RedisStore(settings.store.url.get_secret_value(), settings.namespace, settings.store, settings.carried)
    try:
        yield store
    finally:
        await store.close()
