"""Writes a snapshot of all jobs' states to the state folder of this machine every 45 seconds.

`horae jobs` shows it while the store does not answer. Inside the sidecar because it is frequent and small. Each sidecar
keeps the snapshot of its own machine, and the next fire makes up for a lost one.
"""

from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horae import Settings, current_run, every, job
from horae.errors import StoreError
from horae.settings import load

if TYPE_CHECKING:
    from horae.store.snapshot import Snapshot


@job(schedule=every("45s"), scope="each", time_limit=timedelta(seconds=5))
async def cache_warming(*, dry_run: bool = False) -> dict[str, Any]:
    """Write what the store says of every job to `snapshot.json` in the state folder.

    Returns {"ok", "jobs", "file"}. `ok` is None without a store. It is False when the store does not answer or the file
    cannot be written; then the last snapshot stays. `dry_run` reads and writes nothing.
    """
    run = current_run()
    settings = load(run.project)
    if settings.store.url is None:
        run.report("the jobs were not read: no state store is configured, and no `horae up` is running here")
        return {"ok": None, "jobs": 0, "file": None}
    try:
        snapshot = await taken(settings)
    except StoreError as error:
        run.report(f"the jobs were not read, so the last snapshot stays: {error.message}")
        return {"ok": False, "jobs": 0, "file": None}
    from horae.store.snapshot import FILE

    path = settings.state / FILE
    try:
        if not dry_run:
            snapshot.write(settings.state)
    except OSError as error:
        run.report(f"the last snapshot stays, because {path} cannot be written: {error.strerror}")
        return {"ok": False, "jobs": 0, "file": None}
    count = len(snapshot.standing.latest)
    run.report(f"{'dry run, would write' if dry_run else 'wrote'} the state of {count} jobs")
    return {"ok": True, "jobs": count, "file": str(path)}


async def taken(settings: Settings) -> "Snapshot":
    """What the store says now; raises StoreError."""
    from horae.redis.address import shown
    from horae.store import connect
    from horae.store.glance import Standing
    from horae.store.snapshot import Snapshot

    assert settings.store.url
    async with connect(settings) as store:
        latest = await store.ledger.latest(job_names(settings.project))
        standing = Standing(latest=latest, paused=await store.pauses.paused())
        address = shown(settings.store.url.get_secret_value())
        return Snapshot(at=await store.now(), store=address, namespace=settings.namespace, standing=standing)


@lru_cache(maxsize=1)
def job_names(project: Path) -> tuple[str, ...]:
    """The jobs of the project as they were when this process first asked, like those of the sidecar itself."""
    from horae.project import loading

    return tuple(loading.load(load(project)).names)
