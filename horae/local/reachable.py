"""Settings of a command while `horae up` runs: addresses that are not configured come from `horae up`."""

import os

from pydantic import SecretStr

from horae.local.endpoints import read
from horae.redis.access import RedisAccess
from horae.settings import Settings


def effective(settings: Settings) -> Settings:
    """The settings; if no store or Prefect API is configured, with that of the running `horae up`."""
    if settings.store.url is not None and settings.prefect.api_url is not None:
        return settings
    running = read(settings.state)
    if running is None:
        return settings
    store, prefect = settings.store, settings.prefect
    if store.url is None and running.store_url:
        access = RedisAccess.model_validate(running.store_access).given
        store = store.model_copy(update={"url": SecretStr(running.store_url), **access})
    if prefect.api_url is None and running.prefect_api_url:
        prefect = prefect.model_copy(update={"api_url": SecretStr(running.prefect_api_url)})
    return settings.model_copy(update={"store": store, "prefect": prefect})


def lend(settings: Settings) -> None:
    """Set environment variables for these addresses, so that jobs in this process and its children find them."""
    if settings.store.url is not None:
        os.environ["HORAE_STORE__URL"] = settings.store.url.get_secret_value()
    if settings.prefect.api_url is not None:
        os.environ["HORAE_PREFECT__API_URL"] = settings.prefect.api_url.get_secret_value()
