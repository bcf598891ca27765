"""What a job is: a function or flow, when it is due, and how it may be run."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from horae.errors import InvalidJob, InvalidSchedule, unknown
from horae.schedules import Schedule

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_LIMIT = 100


class Tier(StrEnum):
    PREFECT = "prefect"
    ONEIRIC = "oneiric"
    APSCHEDULER = "apscheduler"


class Trait(StrEnum):
    """An answer to one question of the decision matrix; without it the answer is no."""

    DASHBOARD = "dashboard"
    OBSERVABILITY = "observability"
    USER_TRIGGERED = "user_triggered"
    MULTI_MACHINE = "multi_machine"
    SURVIVES_RESTARTS = "survives_restarts"
    INFRASTRUCTURE = "infrastructure"
    DEPENDENT_STEPS = "dependent_steps"
    DAG = "dag"
    MULTI_REPO = "multi_repo"


class Overlap(StrEnum):
    """What a fire does while another run of its job is active (running, or waiting for a retry)."""

    SKIP = "skip"
    """It is `skipped: overlap`. A run that somebody asked for by name waits instead."""
    QUEUE = "queue"
    """It waits until the other has ended; under catch_up="latest" a newer fire takes its place."""
    CANCEL_OTHER = "cancel_other"
    """The other is asked to end, as `cancelled: overlap`, and this one runs once it has."""
    ALLOW = "allow"
    """Both run."""


class CatchUp(StrEnum):
    """Which of the fires that fell due while nothing dispatched are run."""

    LATEST = "latest"
    """The newest; older ones are `missed: superseded`."""
    ALL = "all"
    """All of them, oldest first."""
    NONE = "none"
    """None; what is more than a minute late is `missed: not caught up`."""


class Scope(StrEnum):
    """Which of several sidecars runs a fire of an internal job."""

    ONE = "one"
    """One of them, by a claim in the store; the fire waits while the store is down."""
    EACH = "each"
    """Every one of them, with or without the store."""


class Isolation(StrEnum):
    """Where a synchronous function runs. An async one always runs on the event loop."""

    CHILD = "child"
    """In a child process: a time limit ends it, its death is survived."""
    THREAD = "thread"
    """In a thread: no hard time limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How often a failed run is tried again, and how long it waits before.

    The wait before retry n is drawn evenly from 0 to min(max_delay, base_delay * 2**(n-1)): exponential
    backoff with full jitter.
    """

    retries: int = 0
    """Failures after which it is tried again; 0: the first is final."""
    base_delay: timedelta = timedelta(seconds=10)
    """The longest wait before the first retry."""
    max_delay: timedelta = timedelta(minutes=10)
    """The longest wait before any retry."""
    not_on: tuple[str, ...] = ()
    """Names of exception classes (or of their bases) that are final at once."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise InvalidJob(f"retries={self.retries}: give 0 or more")
        if self.base_delay < timedelta(0) or self.max_delay < self.base_delay:
            raise InvalidJob("retry delays: 0 <= base_delay <= max_delay must hold")

    def ceiling(self, failures: int) -> timedelta:
        """The longest wait after that many failures (1 or more)."""
        return min(self.max_delay, self.base_delay * (1 << min(failures - 1, 40)))


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a job is declared."""

    file: str
    """Relative to the project."""
    line: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A registered unit of work.

    Names are unique kebab-case. Durations are timedeltas. `tier` is the author's claim: the folder that the job
    lives in; `horae check` compares it with the matrix.
    """

    name: str
    """Unique over all three tiers, kebab-case. Default: the function's name."""
    tier: Tier
    schedule: Schedule | None = None
    """None: fires only when somebody asks."""
    traits: frozenset[Trait] = frozenset()
    """What is true of it, for the decision matrix."""
    function: Callable[..., Any] | None = field(default=None, compare=False)
    """None for a flow: Prefect runs it."""
    description: str = ""
    """A sentence. Default: the first line of the function's docstring."""
    time_limit: timedelta | None = timedelta(minutes=5)
    """A run over it is stopped and fails as timed out. None: no limit."""
    retry: Retry = Retry()
    """Of a durable job; an internal one has its next fire."""
    overlap: Overlap = Overlap.SKIP
    """What a fire does while another run of the job is active."""
    catch_up: CatchUp = CatchUp.LATEST
    """Which of the fires that fell due while nothing dispatched are run."""
    catch_up_window: timedelta = timedelta(days=1)
    """A fire that is older when somebody can dispatch it is `missed`, not run."""
    concurrency: int | None = None
    """Of a durable job with overlap="allow": runs at once over all workers. None: any number."""
    unique_by: tuple[str, ...] | None = None
    """Of a durable job: while a run with the same values of these context keys is not settled, another is not accepted;
    () for any two runs. Fires have their own identity. None: no such key."""
    scope: Scope = Scope.ONE
    """Of an internal job: which of several sidecars runs a fire."""
    jitter: timedelta = timedelta(0)
    """Fires are moved by a share of it that follows from the name: the same everywhere, known beforehand."""
    run_on_start: bool = False
    """`horae up` runs it once at once. Never for a job that changes something."""
    provider: str | None = None
    """The queue backend of a durable job; None: routing chooses."""
    isolation: Isolation = Isolation.CHILD
    """Where a synchronous durable function runs."""
    idempotent: bool = False
    """The author's word that a second run after a crash does no harm."""
    settings: type | None = field(default=None, compare=False)
    """A pydantic model of the table `[jobs.<name>]` in horae.toml."""
    source: Source | None = field(default=None, compare=False)
    deployment: str | None = None
    """`flow/deployment`, as Prefect names it; flows only."""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or len(self.name) > NAME_LIMIT:
            better = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
            hint = f"; {better!r} would do" if NAME.fullmatch(better) and len(better) <= NAME_LIMIT else ""
            raise InvalidJob(
                f"job name {self.name!r} is not kebab-case of at most {NAME_LIMIT} characters, "
                f"such as 'database-backup'{hint}"
            )
        for label, value in (("time_limit", self.time_limit), ("catch_up_window", self.catch_up_window)):
            if value is not None and value <= timedelta(0):
                raise InvalidJob(f"job {self.name!r}: {label} must be longer than zero")
        if self.concurrency is not None and (self.concurrency < 1 or self.overlap is not Overlap.ALLOW):
            raise InvalidJob(
                f"job {self.name!r}: concurrency={self.concurrency} needs overlap='allow' and at least 1; "
                "with any other overlap one run is active at a time"
            )
        if self.jitter < timedelta(0):
            raise InvalidJob(f"job {self.name!r}: jitter must not be negative")

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @property
    def offset(self) -> timedelta:
        """How far `jitter` moves this job's fires: below `jitter`, from the name alone, whole milliseconds."""
        span = self.jitter // timedelta(milliseconds=1)
        if not span:
            return timedelta(0)
        digest = hashlib.sha256(self.name.encode()).digest()
        return timedelta(milliseconds=int.from_bytes(digest[:8]) % span)

    def uniqueness(self, context: Mapping[str, Any]) -> str:
        """The uniqueness key of a run with that context; empty for none."""
        if self.unique_by is None:
            return ""
        return json.dumps([context.get(key) for key in self.unique_by], sort_keys=True, default=str)

    def next_fire(self, after: datetime) -> datetime | None:
        """The first fire strictly after that instant, in UTC; None when there is none."""
        if self.schedule is None:
            return None
        moved = self.schedule.next_after(after - self.offset)
        return moved + self.offset if moved else None

    @property
    def fingerprint(self) -> str:
        """Changes exactly when the schedule or the jitter does."""
        text = f"{self.schedule}|{self.offset // timedelta(milliseconds=1)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def accepts(self, context: Iterable[str]) -> None:
        """Refuse context keys that the function has no parameter for, and missing ones; raises InvalidJob."""
        if self.function is None:
            return
        parameters = inspect.signature(self.function).parameters.values()
        given = set(context)
        named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            for key in sorted(given - set(named)):
                raise InvalidJob(f"job {self.name!r}: " + unknown("context key", key, named))
        missing = [p.name for p in parameters if p.name in named and p.default is p.empty and p.name not in given]
        if missing:
            raise InvalidJob(f"job {self.name!r} needs context {', '.join(missing)}")


def traits_from(names: Iterable[str]) -> frozenset[Trait]:
    """The traits of those names; raises InvalidJob with the nearest right name."""
    known = {trait.value for trait in Trait}
    for name in names:
        if name not in known:
            raise InvalidJob(unknown("trait", str(name), known))
    return frozenset(Trait(name) for name in names)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declaration:
    """What `@job` leaves on a function: a job but for its tier, which is the folder's to say."""

    options: dict[str, Any]
    function: Callable[..., Any]
    line: int

    def job(self, tier: Tier, file: str) -> Job:
        return Job(tier=tier, function=self.function, source=Source(file=file, line=self.line), **self.options)


OPTIONS = frozenset(Job.__dataclass_fields__) - {"tier", "function", "source", "deployment"}
DECLARATION = "__horae_job__"


def job[F: Callable[..., Any]](name: str | None = None, **options: Any) -> Callable[[F], F]:
    """Declare a plain function, sync or async, as a job. The function itself stays callable as before.

    `name` defaults to the function's name in kebab-case, `description` to the first line of its docstring; `traits`
    may be names or `Trait`s; every other keyword is a field of `Job`. Raises InvalidJob on an unknown keyword.

        @job(schedule=every("30s"), scope="each", time_limit=timedelta(seconds=5))
        async def health_check() -> dict: ...
    """
    for key in options:
        if key not in OPTIONS:
            raise InvalidJob(unknown("job setting", key, OPTIONS))

    def declare(function: F) -> F:
        chosen = dict(options)
        chosen["name"] = name or function.__name__.replace("_", "-")
        chosen["traits"] = traits_from(chosen.get("traits", ()))
        chosen.setdefault("description", (inspect.getdoc(function) or "").partition("\n")[0])
        for key, kind in (("overlap", Overlap), ("catch_up", CatchUp), ("scope", Scope), ("isolation", Isolation)):
            if key in chosen:
                chosen[key] = _member(kind, key, chosen[key])
        schedule = chosen.get("schedule")
        if schedule is not None and not isinstance(schedule, Schedule):
            raise InvalidSchedule(f"schedule={schedule!r}: give cron(...), every(...) or at(...)")
        line = function.__code__.co_firstlineno if hasattr(function, "__code__") else 1
        declaration = Declaration(options=chosen, function=function, line=line)
        declaration.job(Tier.APSCHEDULER, "")  # refuses what no tier accepts, at the line that says it
        setattr(function, DECLARATION, declaration)
        return function

    return declare


def _member[E: StrEnum](kind: type[E], key: str, value: str) -> E:
    allowed = [member.value for member in kind]
    if value not in allowed:
        raise InvalidJob(unknown(key, str(value), allowed))
    return kind(value)
