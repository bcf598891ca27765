"""The state store: Redis or Valkey, or memory for scripts and tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horae.settings import Settings
from horae.store.base import Store

__all__ = ["Store", "connect"]


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Store]:
    """The configured store, opened; `memory` when none is configured. Raises StoreUnavailable or UnsafeStore."""
    if settings.store.url is None:
        from horae.store.memory import MemoryStore

        yield MemoryStore(settings.namespace)
        return
    from horae.store.redis import RedisStore

    store = RedisStore(settings.store.url.get_secret_value(), settings.namespace, settings.store)
    try:
        await store.open()
        yield store
    finally:
        await store.close()
