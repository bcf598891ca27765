"""Chooses the store of a program: the configured one, the store of a running `horae up`, or an embedded one."""

import logging
from contextlib import AsyncExitStack

from pydantic import SecretStr

from horae.local.embedded import FOLDER, embedded_store
from horae.local.reachable import effective
from horae.redis.address import shown
from horae.settings import Settings

log = logging.getLogger(__name__)


async def with_store(settings: Settings, stack: AsyncExitStack) -> tuple[Settings, bool]:
    """The settings with a store, and whether the store is embedded. `stack` closes an embedded store.

    Logs which store is used. Raises StartError if no store is configured and the embedded one cannot be started.
    """
    if settings.store.url is not None:
        log.info(
            "using the store at %s", shown(settings.store.url.get_secret_value()), extra={"action": "store_configured"}
        )
        return settings, False
    found = effective(settings)
    if found.store.url is not None:
        where = shown(found.store.url.get_secret_value())
        log.info(
            "using the store of the `horae up` that runs in %s: %s",
            settings.project.resolve(),
            where,
            extra={"action": "store_of_horae_up"},
        )
        return found, False
    url = await stack.enter_async_context(embedded_store(settings.state.resolve()))
    log.info(
        "no store is configured and no `horae up` runs in %s, so an embedded store with its data in %s is used",
        settings.project.resolve(),
        settings.state.resolve() / FOLDER,
        extra={"action": "store_embedded"},
    )
    return found.model_copy(update={"store": found.store.model_copy(update={"url": SecretStr(url)})}), True
