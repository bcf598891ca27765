"""`[jobs.dlq-processing]` in horae.toml."""

from fnmatch import fnmatchcase

from pydantic import BaseModel, ConfigDict, Field

NETWORK = (
    "ConnectionError",
    "ConnectionAbortedError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "BrokenPipeError",
    "TimeoutError",
    "ConnectError",
    "ConnectTimeout",
    "ReadError",
    "ReadTimeout",
    "WriteError",
    "WriteTimeout",
    "PoolTimeout",
    "RemoteProtocolError",
    "StoreUnavailable",
    "QueueUnavailable",
    "PrefectUnavailable",
)
"""Exceptions of Python, httpx, requests, redis-py and Horae that say: the other side was not there."""


class Rule(BaseModel):
    """What counts as transient. Everything that a rule says must hold; patterns are those of a shell (`*`, `?`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jobs: tuple[str, ...] = ("*",)
    """Names of jobs."""
    errors: tuple[str, ...] = ("*",)
    """Class names of exceptions, without their module."""
    reasons: tuple[str, ...] = ("*",)
    """Reasons of the verdict, such as `raised` or `timed out`."""
    says: str = ""
    """Text that must be part of the exception's message."""
    not_idempotent_too: bool = False
    """Replay jobs that do not say idempotent=True, too."""

    def holds(self, *, job: str, error: str, reason: str, says: str) -> bool:
        pairs = ((self.jobs, job), (self.errors, error), (self.reasons, reason))
        return self.says in says and all(any(fnmatchcase(text, one) for one in patterns) for patterns, text in pairs)


DEFAULT_RULES = (Rule(errors=NETWORK),)


class DlqSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: tuple[Rule, ...] = DEFAULT_RULES
    """What is replayed. Default: network errors and timeouts of the other side, in jobs that say idempotent=True."""
    look_at: int = Field(default=2000, ge=1, le=10_000)
    """Dead letters that one run looks at, the newest. 2,000 take about a second."""
    most_each: int = Field(default=3, ge=0, le=20)
    """Replays of one piece of work by this job, ever. 0: nothing is replayed, everything is raised."""
    most_at_once: int = Field(default=20, ge=1, le=200)
    """Replays in one run of this job, over all jobs."""
    most_an_hour: int = Field(default=60, ge=1, le=1000)
    """Replays by this job in one hour, of each job."""
    rest_seconds: float = Field(default=300, ge=0)
    """How long a letter rests before its first replay; twice as long before the next, and so on."""
    stop_seconds: float = Field(default=1800, gt=0)
    """After a replay failed again, no letter of its job is replayed for so long; then one is, to try."""
