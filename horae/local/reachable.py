"""Settings for a command beside a running `horae up`: what is not configured is taken from where it listens."""

import os

from pydantic import SecretStr

from horae.local.endpoints import read
from horae.redis.access import RedisAccess
from horae.settings import Settings


def effective(settings: Settings) -> Settings:
    """The same settings, with the store and the Prefect API of a running `horae up` where none is configured."""
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
    """Put these addresses where a job that reads settings itself will find them, in this process and its children."""
    if settings.store.url is not None:
        os.environ["HORAE_STORE__URL"] = settings.store.url.get_secret_value()
    if settings.prefect.api_url is not None:
        os.environ["HORAE_PREFECT__API_URL"] = settings.prefect.api_url.get_secret_value()
