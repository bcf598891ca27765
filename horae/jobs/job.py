"""What a job is: a function or flow, when it is due, and how it may be run."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from horae.errors import InvalidJob, unknown
from horae.findings import Source
from horae.jobs.arguments import check_values
from horae.jobs.policies import CatchUp, Isolation, Overlap, Retry, Scope, Tier, Trait
from horae.schedules.kinds import Schedule

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_LIMIT = 100
ADDRESS_LIMIT = 500
NO_RETRY = Retry()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A registered unit of work.

    Names are unique: kebab-case, but for a flow, whose name is its address `flow/deployment`. Durations are timedeltas.
    `tier` is the author's claim: the folder that the job lives in; `horae check` compares it with the matrix.
    """

    name: str
    """Unique over all three tiers. Default: the function's name. Of a flow: its address, `flow/deployment`."""
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
    retry: Retry = NO_RETRY
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
        if self.tier is Tier.PREFECT:
            if not self.name.strip() or not self.name.isprintable() or len(self.name) > ADDRESS_LIMIT:
                raise InvalidJob(
                    f"the name of a flow job is `flow/deployment`, at most {ADDRESS_LIMIT} printable characters, "
                    f"not {self.name!r}"
                )
        elif not NAME.fullmatch(self.name) or len(self.name) > NAME_LIMIT:
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
    def short_name(self) -> str:
        """Its name, and of a flow that of its deployment: an alias, while no other job has it."""
        return self.name.rpartition("/")[2] if self.tier is Tier.PREFECT else self.name

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

    def accepts(self, context: Mapping[str, Any]) -> None:
        """Refuse context keys that the function has no parameter for, missing ones, and values of another type than
        the annotation's; raises InvalidJob."""
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
        if given:
            check_values(self.name, self.function, context)
