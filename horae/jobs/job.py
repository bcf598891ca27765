"""The job: a function or flow, its schedule, and the rules for its runs."""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from horae.errors import InvalidJob, unknown
from horae.findings import Source
from horae.jobs.arguments import check_values
from horae.jobs.policies import CatchUp, Isolation, Need, Overlap, Retry, Scope, Tier, Trait
from horae.schedules.kinds import Schedule

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
NAME_LIMIT = 100
ADDRESS_LIMIT = 500
NO_RETRY = Retry()


@lru_cache(maxsize=1024)
def _parameters(function: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    """Cached, because each enqueue asks for them."""
    return tuple(inspect.signature(function).parameters.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A registered unit of work.

    Names are unique: kebab-case, or for a flow its address `flow/deployment`. Durations are timedeltas.
    `tier` comes from the folder that the job is in; `horae check` compares it with the decision of the matrix.
    """

    name: str
    """Unique across all three tiers. Default: the function's name. For a flow: its address, `flow/deployment`."""
    tier: Tier
    schedule: Schedule | None = None
    """When the job fires. None: it runs only on request."""
    traits: frozenset[Trait] = frozenset()
    """The job's traits, which the decision matrix uses."""
    function: Callable[..., Any] | None = field(default=None, compare=False)
    """The function to run. None for a flow, which Prefect runs."""
    description: str = ""
    """One sentence for people. Default: the first line of the function's docstring."""
    time_limit: timedelta | None = timedelta(minutes=5)
    """A run that takes longer is stopped and fails as timed out. None: no limit."""
    retry: Retry = NO_RETRY
    """Retries of a durable job. An internal job has none: it runs again at its next fire."""
    overlap: Overlap = Overlap.SKIP
    """How a fire is handled while another run of the job is active."""
    catch_up: CatchUp = CatchUp.LATEST
    """Which fires run that fell due while no process dispatched."""
    catch_up_window: timedelta = timedelta(days=1)
    """A fire that is older than this when it can be dispatched is settled as `missed` and does not run."""
    concurrency: int | None = None
    """For a durable job with overlap="allow": the most runs at the same time on all workers. None: any number."""
    unique_by: tuple[str, ...] | None = None
    """For a durable job: names of context keys. While a run is not settled, no second run with the same values of these
    keys is accepted. (): at most one open run of the job. None: no limit. Scheduled fires are not affected."""
    scope: Scope = Scope.ONE
    """For an internal job: which of several sidecars run a fire."""
    jitter: timedelta = timedelta(0)
    """Each fire is delayed by a fixed part of this duration. The part is derived from the job's name, so it is the
    same on all machines."""
    run_on_start: bool = False
    """`horae up` also runs the job once when it starts. Do not use it for a job that changes something."""
    provider: str | None = None
    """The queue provider of a durable job. None: the default, or another one if only that offers all `needs`."""
    needs: frozenset[Need] = frozenset()
    """What a durable job without `provider` needs of its broker."""
    isolation: Isolation = Isolation.CHILD
    """Where a synchronous function of a durable job runs."""
    idempotent: bool = False
    """The author declares that a second run, for example after a crash, does no harm."""
    settings: type | None = field(default=None, compare=False)
    """The pydantic model for the table `[jobs.<name>]` in horae.toml."""
    source: Source | None = field(default=None, compare=False)
    deployment: str | None = None
    """`flow/deployment`, as Prefect names it. Only for flows."""

    def __post_init__(self) -> None:
        if self.tier is Tier.PREFECT:
            if not self.name.strip() or not self.name.isprintable() or len(self.name) > ADDRESS_LIMIT:
                raise InvalidJob(
                    f"the name of a flow job is {self.name!r}. It must be `flow/deployment`, with at most "
                    f"{ADDRESS_LIMIT} printable characters"
                )
        elif not NAME.fullmatch(self.name) or len(self.name) > NAME_LIMIT:
            better = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
            hint = f"; {better!r} would do" if NAME.fullmatch(better) and len(better) <= NAME_LIMIT else ""
            raise InvalidJob(
                f"job name {self.name!r} must be kebab-case, such as 'database-backup', with at most {NAME_LIMIT} "
                f"characters{hint}"
            )
        for label, value in (("time_limit", self.time_limit), ("catch_up_window", self.catch_up_window)):
            if value is not None and value <= timedelta(0):
                raise InvalidJob(f"job {self.name!r}: {label} must be longer than zero")
        if self.concurrency is not None and (self.concurrency < 1 or self.overlap is not Overlap.ALLOW):
            raise InvalidJob(
                f"job {self.name!r}: concurrency={self.concurrency}. It must be at least 1, and it needs "
                "overlap='allow'; every other overlap policy runs one run at a time"
            )
        if self.jitter < timedelta(0):
            raise InvalidJob(f"job {self.name!r}: jitter must not be negative")

    @property
    def short_name(self) -> str:
        """The job's name; for a flow, the name of its deployment. Commands accept it while it is unique."""
        return self.name.rpartition("/")[2] if self.tier is Tier.PREFECT else self.name

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.function)

    @property
    def offset(self) -> timedelta:
        """The delay of this job's fires in whole milliseconds: less than `jitter`, and derived from the name alone."""
        span = self.jitter // timedelta(milliseconds=1)
        if not span:
            return timedelta(0)
        digest = hashlib.sha256(self.name.encode()).digest()
        return timedelta(milliseconds=int.from_bytes(digest[:8]) % span)

    def uniqueness(self, context: Mapping[str, Any]) -> str:
        """The uniqueness key of a run with this context; empty if the job has none."""
        if self.unique_by is None:
            return ""
        return json.dumps([context.get(key) for key in self.unique_by], sort_keys=True, default=str)

    def next_fire(self, after: datetime) -> datetime | None:
        """The first fire strictly after `after`, in UTC; None if there is none."""
        if self.schedule is None:
            return None
        moved = self.schedule.next_after(after - self.offset)
        return moved + self.offset if moved else None

    @property
    def fingerprint(self) -> str:
        """A text that changes exactly when the schedule or the jitter changes."""
        text = f"{self.schedule}|{self.offset // timedelta(milliseconds=1)}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def accepts(self, context: Mapping[str, Any]) -> None:
        """Raise InvalidJob for context keys without a parameter in the function, for missing required keys, and for
        values that do not match the parameter's annotation."""
        if self.function is None:
            return
        parameters = _parameters(self.function)
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
