"""A scheduler in the test's own process, and the store behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from horae.scheduler.scheduler import Scheduler
from horae.settings import Settings, StoreSettings, load
from horae.store import Store, connect


@asynccontextmanager
async def front_door(project: Path, store_url: str, namespace: str) -> AsyncIterator[tuple[Scheduler, Store]]:
    settings: Settings = load(project).model_copy(
        update={"namespace": namespace, "store": StoreSettings(url=SecretStr(store_url))}
    )
    async with Scheduler(settings).lifecycle() as scheduler, connect(settings) as store:
        yield scheduler, store
