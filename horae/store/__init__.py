"""The state store: Redis or Valkey."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from horae.errors import StoreUnavailable
from horae.settings import Settings
from horae.store.base import Claims, Store

__all__ = ["NOT_CONFIGURED", "Store", "claims_of", "connect"]

NOT_CONFIGURED = (
    "no state store is configured and no `horae up` is running here; start `horae up`, "
    "or set HORAE_STORE__URL (redis://host:port/0) or store.url in horae.toml"
)


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator[Store]:
    """Open the configured store; raises StoreUnavailable if none is configured.

    The store connects when it is first used. `check()` and every later step raise StoreUnavailable if the server does
    not answer, or UnsafeStore if the server could lose accepted runs.
    """
    if settings.store.url is None:
        raise StoreUnavailable(NOT_CONFIGURED)
    from horae.store.redis import RedisStore

    store = RedisStore(settings.store.url.get_secret_value(), settings.namespace, settings.store, settings.carried)
    try:
        yield store
    finally:
        await store.close()


def claims_of(settings: Settings) -> Claims:
    """Return the claims of the configured store for a process without an event loop. Call only `renew` on them."""
    assert settings.store.url, NOT_CONFIGURED
    from horae.store.redis import RedisStore

    store = RedisStore(settings.store.url.get_secret_value(), settings.namespace, settings.store, settings.carried)
    return store.claims
