"""The checks, one function each. They import what they need when they run."""

import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from horae import Job, Settings, clock
from horae.errors import HoraeError
from horae.settings import load
from internal._health.settings import HealthSettings

STARTED = clock.now()
CLOCKS_APART_SECONDS = 2.0
WRITES = "health-check"
"""The name under which the ledger keeps the line of each store check. It keeps only the newest lines."""
OWN_NAME = "health-check"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """The result of a check."""

    ok: bool | None
    """Whether the check passed. None: not configured here."""
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures for metrics, by names that end in their unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    name: str
    ok: bool | None
    detail: str
    seconds: float
    figures: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


type Check = Callable[[Settings, HealthSettings], Awaitable[Seen]]
NOT_CONFIGURED = Seen(ok=None, detail="not configured")


async def check_prefect(settings: Settings, _limits: HealthSettings) -> Seen:
    """Whether Prefect's API reports that it is healthy."""
    if settings.prefect.api_url is None:
        return NOT_CONFIGURED
    from horae.prefect.api import PrefectApi

    key = settings.prefect.api_key
    address = settings.prefect.api_url.get_secret_value()
    async with PrefectApi(address, key.get_secret_value() if key else None) as api:
        well, url = await api.health(), api.url
    return Seen(ok=well, detail=f"{url} is healthy" if well else f"{url} does not answer, or reports a problem")


async def check_store(settings: Settings, _limits: HealthSettings) -> Seen:
    """Whether the store answers, is safe, and accepts a write."""
    if settings.store.url is None:
        return NOT_CONFIGURED
    from horae.store import connect

    async with connect(settings) as store:
        await store.check()
        offset = (await store.now() - clock.now()).total_seconds()
        await store.ledger.append_log(WRITES, [f"{clock.isoformat(clock.now())} the store takes writes"])
    apart = f"; its clock differs by {offset:+.1f} s" if abs(offset) > CLOCKS_APART_SECONDS else ""
    return Seen(ok=True, detail=f"takes writes{apart}", figures={"clock_offset_seconds": offset})


async def check_queue(settings: Settings, _limits: HealthSettings) -> Seen:
    """Whether every configured queue provider answers, and how many messages wait there."""
    if settings.store.url is None:
        return NOT_CONFIGURED
    from horae.queues.opened import open_queues

    router = open_queues(settings).router
    try:
        await router.check()
        held = {name: await router.backlog(name) for name in router.names}
    finally:
        await router.close()
    waiting = {name: backlog.messages for name, backlog in held.items() if backlog}
    counted = "".join(f"; {count} messages wait at {name}" for name, count in waiting.items() if count)
    figures = {f"{name}_waiting_messages": float(count) for name, count in waiting.items()}
    return Seen(ok=True, detail=f"{', '.join(router.names)} answers{counted}", figures=figures)


async def check_disk(settings: Settings, limits: HealthSettings) -> Seen:
    """Whether the disk of state and backups has enough free space."""
    folder = next(place for place in (settings.state, *settings.state.parents) if place.is_dir())
    usage = shutil.disk_usage(folder)
    free = usage.free >> 20
    detail = f"{free} MiB free at {folder}"
    if free < limits.free_disk_mib:
        return Seen(ok=False, detail=f"{detail}, fewer than {limits.free_disk_mib}", figures={"free_bytes": usage.free})
    return Seen(ok=True, detail=detail, figures={"free_bytes": usage.free})


async def check_fires(settings: Settings, limits: HealthSettings) -> Seen:
    """Whether each job fired when it last should have. Needs the ledger."""
    if settings.store.url is None:
        return NOT_CONFIGURED
    from horae.store import connect

    jobs = [job for job in known_jobs(settings.project) if job.schedule and job.name != OWN_NAME]
    async with connect(settings) as store:
        latest = await store.ledger.latest([job.name for job in jobs])
    runs = {name: found.newest for name, found in latest.items() if found.newest}
    fired = {name: run.scheduled_for or run.accepted_at for name, run in runs.items()}
    return judged(jobs, fired, clock.now(), STARTED, timedelta(seconds=limits.late_seconds))


def judged(
    jobs: Iterable[Job],
    fired: Mapping[str, datetime | None],
    now: datetime,
    since: datetime,
    patience: timedelta,
) -> Seen:
    """A job is late when it was due after both its last fire and `since`, and `patience` has passed.

    Fires that were due before `since`, when this process began, are being caught up and do not count as late.
    """
    late: list[str] = []
    ages: dict[str, float] = {}
    for job in jobs:
        last = fired.get(job.name)
        if last:
            ages[f"{job.name}_age_seconds"] = max(0.0, (now - last).total_seconds())
        due = job.next_fire(max(last, since) if last else since)
        if due and due + patience < now:
            late.append(f"{job.name} was due {clock.isoformat(due.replace(microsecond=0))}")
    if late:
        return Seen(ok=False, detail=f"not fired: {', '.join(late)}", figures=ages)
    return Seen(ok=True, detail="every job fired when it was due", figures=ages)


@lru_cache(maxsize=1)
def known_jobs(project: Path) -> tuple[Job, ...]:
    """The jobs of the project at the first call in this process, like those of the sidecar itself."""
    from horae.project import loading

    return tuple(loading.load(load(project)))


CHECKS: dict[str, Check] = {
    "prefect": check_prefect,
    "store": check_store,
    "queue": check_queue,
    "disk": check_disk,
    "fires": check_fires,
}


async def run_checks(settings: Settings, limits: HealthSettings, checks: Mapping[str, Check]) -> list[CheckResult]:
    """Run all checks concurrently. A check that raises or takes too long fails; the others are not affected."""
    import asyncio

    return await asyncio.gather(*(_run(name, check, settings, limits) for name, check in checks.items()))


async def _run(name: str, check: Check, settings: Settings, limits: HealthSettings) -> CheckResult:
    import asyncio

    began = clock.monotonic()
    try:
        async with asyncio.timeout(limits.timeout_seconds):
            found = await check(settings, limits)
    except TimeoutError:
        found = Seen(ok=False, detail=f"no answer within {limits.timeout_seconds:g} s")
    except HoraeError as error:
        found = Seen(ok=False, detail=error.message)
    except Exception as error:  # a check that is itself broken is a finding too
        found = Seen(ok=False, detail=f"{type(error).__name__}: {error}")
    seconds = round(clock.monotonic() - began, 4)
    return CheckResult(name=name, ok=found.ok, detail=found.detail, seconds=seconds, figures=dict(found.figures))
