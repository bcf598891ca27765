"""The typed keywords of `@job(...)`. Editors complete them, and type checkers report unknown ones."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Literal, TypedDict

from horae.jobs.policies import CatchUp, Isolation, Need, Overlap, Retry, Scope, Trait
from horae.schedules.kinds import Schedule

type TraitName = Literal[
    "dashboard",
    "observability",
    "user_triggered",
    "multi_machine",
    "survives_restarts",
    "infrastructure",
    "dependent_steps",
    "dag",
    "multi_repo",
]
type NeedName = Literal["delay", "ordering", "priority", "size"]
type OverlapName = Literal["skip", "queue", "cancel_other", "allow"]
type CatchUpName = Literal["latest", "all", "none"]
type ScopeName = Literal["one", "each"]
type IsolationName = Literal["child", "thread"]


class JobOptions(TypedDict, total=False):
    """The keywords of `@job(...)` other than the name. Each is a field of `Job`, which documents it."""

    schedule: Schedule | None
    traits: Iterable[Trait | TraitName]
    description: str
    time_limit: timedelta | None
    retry: Retry
    overlap: Overlap | OverlapName
    catch_up: CatchUp | CatchUpName
    catch_up_window: timedelta
    concurrency: int | None
    unique_by: tuple[str, ...] | None
    scope: Scope | ScopeName
    jitter: timedelta
    run_on_start: bool
    provider: str | None
    needs: Iterable[Need | NeedName]
    isolation: Isolation | IsolationName
    idempotent: bool
    settings: type | None


OPTIONS = frozenset(JobOptions.__annotations__)
