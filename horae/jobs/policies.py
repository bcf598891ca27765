"""The options of a job: tier, traits, overlap, catch-up, scope, isolation, retries."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Self

from horae.errors import InvalidJob


class Tier(StrEnum):
    """One of the three schedulers: its value, its title, the folder of its jobs, and what it is for."""

    label: str
    """The name for people. (It is not called `title`, because `str` has a method of that name.)"""
    folder: str
    """The default folder of its jobs, and the name of the setting in `[folders]` that changes it."""
    sentence: str

    PREFECT = "prefect", "Prefect", "flows", "For flows that people watch, start and retry."
    ONEIRIC = "oneiric", "Oneiric queue", "infra", "For jobs that must survive restarts or run on several machines."
    APSCHEDULER = "apscheduler", "APScheduler", "internal", "For frequent or small upkeep in the sidecar."

    def __new__(cls, value: str, label: str = "", folder: str = "", sentence: str = "") -> Self:
        # Type checkers treat `Tier("prefect")` as a call of this method, so the other parameters need defaults.
        member = str.__new__(cls, value)
        member._value_, member.label, member.folder, member.sentence = value, label, folder, sentence
        return member


class Trait(StrEnum):
    """A yes to one question of the decision matrix, with its sentence. Without the trait the answer is no."""

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
    """How a fire is handled while another run of its job is active (running, or waiting for a retry)."""

    SKIP = "skip"
    """The fire is settled as `skipped: overlap`. A run that was requested by name waits instead."""
    QUEUE = "queue"
    """The fire waits until the active run ends. Under catch_up="latest" a newer fire replaces a waiting one."""
    CANCEL_OTHER = "cancel_other"
    """The active run is cancelled as `cancelled: overlap`. The fire runs after it has ended."""
    ALLOW = "allow"
    """Both run."""


class CatchUp(StrEnum):
    """Which fires run that fell due while no process dispatched."""

    LATEST = "latest"
    """The newest fire. Older fires are settled as `missed: superseded`."""
    ALL = "all"
    """All fires, oldest first."""
    NONE = "none"
    """No fire. A fire that is more than a minute late is settled as `missed: not caught up`."""


class Need(StrEnum):
    """What a durable job needs of the broker that carries its messages. Oneiric routes by it."""

    DELAY = "delay"
    """Its runs can be accepted before they are due. Every provider can: the outbox keeps the times."""
    ORDERING = "ordering"
    """A worker receives its messages in the order of publishing, within a priority."""
    PRIORITY = "priority"
    """The broker hands out high, normal and low priorities in the ratio 8:3:1."""
    SIZE = "size"
    """The broker takes messages up to `queue.message_limit_bytes`."""


class Scope(StrEnum):
    """Which of several sidecars run a fire of an internal job."""

    ONE = "one"
    """One sidecar, which claims the fire in the store. The fire waits while the store is down."""
    EACH = "each"
    """Every sidecar, with or without the store."""


class Isolation(StrEnum):
    """Where a synchronous function runs. An async function always runs on the event loop."""

    CHILD = "child"
    """In its own process. A time limit can end it, and its crash does not stop the worker."""
    THREAD = "thread"
    """In a thread. A time limit cannot end it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """How often a failed run is retried, and how long it waits before each retry.

    The wait before retry n is drawn evenly from 0 to min(max_delay, base_delay * 2**(n-1)): exponential
    backoff with full jitter.
    """

    retries: int = 0
    """The number of retries. 0: the first failure is final."""
    base_delay: timedelta = timedelta(seconds=10)
    """The longest wait before the first retry."""
    max_delay: timedelta = timedelta(minutes=10)
    """The upper limit of the wait before any retry."""
    not_on: tuple[str, ...] = ()
    """Names of exception classes, or of their base classes, that are not retried."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise InvalidJob(f"retries={self.retries}: give 0 or more")
        if self.base_delay < timedelta(0) or self.max_delay < self.base_delay:
            raise InvalidJob(
                f"retry has base_delay={self.base_delay} and max_delay={self.max_delay}. Required: 0 "
                "<= base_delay <= max_delay"
            )

    def ceiling(self, failures: int) -> timedelta:
        """The longest wait after `failures` failures (1 or more)."""
        return min(self.max_delay, self.base_delay * (1 << min(failures - 1, 40)))
