"""One registry, one decision matrix, three schedulers.

This page is all that a job file or an embedding program needs: `from horae import job, cron, Scheduler`. A name is
imported from its room when it is first used, so `import horae` itself costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from horae.errors import HoraeError as HoraeError
    from horae.jobs.context import RunContext as RunContext
    from horae.jobs.context import current_run as current_run
    from horae.jobs.declaring import job as job
    from horae.jobs.job import Job as Job
    from horae.jobs.policies import CatchUp as CatchUp
    from horae.jobs.policies import Isolation as Isolation
    from horae.jobs.policies import Overlap as Overlap
    from horae.jobs.policies import Retry as Retry
    from horae.jobs.policies import Scope as Scope
    from horae.jobs.policies import Tier as Tier
    from horae.jobs.policies import Trait as Trait
    from horae.matrix import Decision as Decision
    from horae.matrix import decide as decide
    from horae.messages import Priority as Priority
    from horae.reasons import Reason as Reason
    from horae.runs import Cause as Cause
    from horae.runs import Run as Run
    from horae.runs import State as State
    from horae.runs import Verdict as Verdict
    from horae.scheduler.scheduler import Scheduler as Scheduler
    from horae.schedules.kinds import Schedule as Schedule
    from horae.schedules.making import any_of as any_of
    from horae.schedules.making import at as at
    from horae.schedules.making import cron as cron
    from horae.schedules.making import every as every
    from horae.settings import Settings as Settings
    from horae.settings import load as load_settings  # noqa: F401
    from horae.store.values import Accepted as Accepted

ROOMS = {
    "horae.errors": ("HoraeError",),
    "horae.jobs.context": ("RunContext", "current_run"),
    "horae.jobs.declaring": ("job",),
    "horae.jobs.job": ("Job",),
    "horae.jobs.policies": ("CatchUp", "Isolation", "Overlap", "Retry", "Scope", "Tier", "Trait"),
    "horae.matrix": ("Decision", "decide"),
    "horae.messages": ("Priority",),
    "horae.reasons": ("Reason",),
    "horae.runs": ("Cause", "Run", "State", "Verdict"),
    "horae.scheduler.scheduler": ("Scheduler",),
    "horae.schedules.kinds": ("Schedule",),
    "horae.schedules.making": ("any_of", "at", "cron", "every"),
    "horae.settings": ("Settings", "load_settings"),
    "horae.store.values": ("Accepted",),
}
"""The module that exports each name of this page."""

NAMES_THERE = {"load_settings": "load"}
HOMES = {name: room for room, names in ROOMS.items() for name in names}

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), NAMES_THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
