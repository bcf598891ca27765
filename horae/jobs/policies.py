"""What a job can choose: tier, traits, overlap, catch-up, scope, isolation, retries."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from horae.errors import InvalidJob


class Tier(StrEnum):
    """One of the three schedulers: its value, its title, the folder of its jobs, and what it is for."""

    label: str
    """Its title, as people read it. (`title` is a method of every text.)"""
    folder: str
    """Where its jobs live unless `[folders]` says otherwise, and the name of that setting."""
    sentence: str

    PREFECT = "prefect", "Prefect", "flows", "What people watch, start and retry."
    ONEIRIC = "oneiric", "Oneiric queue", "infra", "What must survive restarts or run on several machines."
    APSCHEDULER = "apscheduler", "APScheduler", "internal", "Frequent or small upkeep inside the sidecar."

    def __new__(cls, value: str, label: str = "", folder: str = "", sentence: str = "") -> Self:
        # The defaults are for type checkers, which take `Tier("prefect")` for a call of this.
        member = str.__new__(cls, value)
        member._value_, member.label, member.folder, member.sentence = value, label, folder, sentence
        return member


class Trait(StrEnum):
    """An answer to one question of the decision matrix, and its sentence. Without the trait the answer is no."""

    sentence: str

    DASHBOARD = "dashboard", "Users will want to see it in a dashboard."
    OBSERVABILITY = "observability", "It needs observability: UI, graphs, history."
    USER_TRIGGERED = "user_triggered", "Users will trigger it manually."
    MULTI_MACHINE = "multi_machine", "It must run on multiple machines."
    SURVIVES_RESTARTS = "survives_restarts", "It needs to survive restarts."
    INFRASTRUCTURE = "infrastructure", "It is infrastructure-related: backups, rotations."
    DEPENDENT_STEPS = "dependent_steps", "It has multiple steps with dependencies."
    DAG = "dag", "It needs DAG orchestration."
    MULTI_REPO = "multi_repo", "It coordinates across multiple repositories."

    def __new__(cls, value: str, sentence: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_, member.sentence = value, sentence
        return member


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
    """In a process of its own: a time limit ends it, its death is survived."""
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
