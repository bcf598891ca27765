"""The measurements, one function each. A figure that could not be measured is left out; it is not 0."""

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from horae import Settings, clock
from horae.errors import HoraeError
from internal._metrics.settings import MetricsSettings

CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")
SECOND = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """The result of one measurement."""

    name: str
    ok: bool | None
    """Whether the measurement succeeded. None: not configured here."""
    detail: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures by names that end in their unit."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


type Measurement = Callable[[Settings, MetricsSettings], Awaitable[list[Measured]]]


async def process(_settings: Settings, _own: MetricsSettings) -> list[Measured]:
    """This process: under `horae up` and in production, the sidecar."""
    import psutil

    here = psutil.Process()
    with here.oneshot():
        times, memory = here.cpu_times(), here.memory_info()
        figures = {
            "cpu_seconds": round(times.user + times.system, 2),
            "resident_bytes": memory.rss,
            "threads": here.num_threads(),
            "open_files": here.num_fds(),
            "children": len(here.children(recursive=True)),
            "up_seconds": round(clock.now().timestamp() - here.create_time(), 1),
        }
    detail = f"pid {here.pid}, {figures['resident_bytes'] >> 20} MiB, {figures['open_files']} files open"
    return [Measured(name="process", ok=True, detail=detail, figures=figures)]


async def host(settings: Settings, own: MetricsSettings) -> list[Measured]:
    """This machine: processors, memory, and the configured disks."""
    import psutil

    memory, times, load = psutil.virtual_memory(), psutil.cpu_times(), os.getloadavg()
    busy = sum(times) - times.idle - getattr(times, "iowait", 0.0)
    figures: dict[str, float] = {
        "cpus": psutil.cpu_count() or 1,
        "cpu_busy_seconds": round(busy, 1),
        "load_1_minute": round(load[0], 2),
        "load_5_minutes": round(load[1], 2),
        "memory_bytes": memory.total,
        "memory_available_bytes": memory.available,
        "swap_used_bytes": psutil.swap_memory().used,
        "up_seconds": round(clock.now().timestamp() - psutil.boot_time()),
    }
    limit = memory_limit()
    if limit is not None:
        figures["memory_limit_bytes"] = limit
    available = f"{memory.available >> 20} of {memory.total >> 20} MiB available"
    detail = f"load {load[0]:.2f} on {figures['cpus']} processors, {available}"
    return [Measured(name="host", ok=True, detail=detail, figures=figures), *_disks(settings, own)]


def memory_limit(path: Path = CGROUP_MEMORY) -> int | None:
    """The memory limit of this container in bytes. None without a limit, or if it cannot be read."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # `max` is no number
        return None


def _disks(settings: Settings, own: MetricsSettings) -> list[Measured]:
    import psutil

    found = []
    for given in own.disks or (str(settings.state),):
        folder = settings.project / Path(given).expanduser()
        if not own.disks:
            folder = next(place for place in (folder, *folder.parents) if place.is_dir())
        name = f"disk {given}" if own.disks else "disk"
        try:
            usage = psutil.disk_usage(str(folder))
        except OSError as error:
            detail = f"{folder} cannot be measured: {error.strerror}"
            found.append(Measured(name=name, ok=False, detail=detail))
            continue
        figures = {"total_bytes": usage.total, "free_bytes": usage.free}
        detail = f"{usage.free >> 20} of {usage.total >> 20} MiB free at {folder}"
        found.append(Measured(name=name, ok=True, detail=detail, figures=figures))
    return found


async def queues(settings: Settings, _own: MetricsSettings) -> list[Measured]:
    """The number of messages at each provider's broker, and the age of the oldest."""
    if settings.store.url is None:
        return [Measured(name="queue", ok=None, detail="not configured")]
    from horae.queues.opened import open_queues

    router = open_queues(settings).router
    found = []
    try:
        for provider in router.names:
            try:
                backlog = await router.backlog(provider)
            except HoraeError as error:
                found.append(Measured(name=f"queue {provider}", ok=False, detail=error.message))
                continue
            if backlog is None:
                found.append(
                    Measured(
                        name=f"queue {provider}", ok=None, detail="its broker does not report the number of messages"
                    )
                )
                continue
            age = backlog.oldest / SECOND
            figures = {"messages": backlog.messages, "oldest_seconds": round(age, 3)}
            detail = f"{backlog.messages} messages, the oldest {age:.1f} s old" if backlog.messages else "empty"
            found.append(Measured(name=f"queue {provider}", ok=True, detail=detail, figures=figures))
    finally:
        await router.close()
    return found


async def ledger(settings: Settings, _own: MetricsSettings) -> list[Measured]:
    """The counters of the state store, for all jobs together."""
    if settings.store.url is None:
        return [Measured(name="ledger", ok=None, detail="not configured")]
    from horae.store import connect

    async with connect(settings) as store:
        found = await store.ledger.figures()
    settled: Counter[str] = Counter()
    for (_, verdict), count in found.settled.items():
        settled[verdict.value] += count
    figures: dict[str, float] = {f"{verdict}_runs": count for verdict, count in sorted(settled.items())}
    figures |= {
        "outbox_entries": found.outbox,
        "outbox_overdue_seconds": found.overdue / SECOND,
        "waiting_runs": found.waiting,
        "running_runs": found.running,
        "dead_letters": found.dead_letters,
    }
    detail = f"{found.running} active runs, {found.outbox} entries in the outbox, {found.dead_letters} dead letters"
    return [Measured(name="ledger", ok=True, detail=detail, figures=figures)]


async def prefect(settings: Settings, _own: MetricsSettings) -> list[Measured]:
    """The number of flow runs that should have begun and did not."""
    if settings.prefect.api_url is None:
        return [Measured(name="prefect", ok=None, detail="not configured")]
    from horae.prefect.flow_runs import prefect_of

    async with prefect_of(settings) as api:
        late = await api.late_flow_runs()
    return [Measured(name="prefect", ok=True, detail=f"{late} flow runs are late", figures={"late_flow_runs": late})]


MEASUREMENTS: dict[str, Measurement] = {
    "process": process,
    "host": host,
    "queue": queues,
    "ledger": ledger,
    "prefect": prefect,
}


async def measure(settings: Settings, own: MetricsSettings, measurements: Mapping[str, Measurement]) -> list[Measured]:
    """Run all measurements concurrently. One that raises or takes too long has no figures and stops no other."""
    import asyncio

    found = await asyncio.gather(*(_one(name, one, settings, own) for name, one in measurements.items()))
    return [measured for some in found for measured in some]


async def _one(name: str, measurement: Measurement, settings: Settings, own: MetricsSettings) -> list[Measured]:
    import asyncio

    try:
        async with asyncio.timeout(own.timeout_seconds):
            return await measurement(settings, own)
    except TimeoutError:
        return [Measured(name=name, ok=False, detail=f"no answer within {own.timeout_seconds:g} s")]
    except HoraeError as error:
        return [Measured(name=name, ok=False, detail=error.message)]
    except Exception as error:  # a measurement that is itself broken is a finding too
        return [Measured(name=name, ok=False, detail=f"{type(error).__name__}: {error}")]
