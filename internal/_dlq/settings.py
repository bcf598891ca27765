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
"""Exceptions of Python, httpx, requests, redis-py and Horae for a peer that could not be reached."""


class Rule(BaseModel):
    """Which dead letters count as transient: those that match every key. Patterns are those of a shell (`*`, `?`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    jobs: tuple[str, ...] = ("*",)
    """Names of jobs."""
    errors: tuple[str, ...] = ("*",)
    """Class names of exceptions, without their module."""
    reasons: tuple[str, ...] = ("*",)
    """Reasons of the verdict, such as `raised` or `timed out`."""
    says: str = ""
    """Text that must be part of the exception's message."""
    not_idempotent_too: bool = False
    """Also replay jobs that do not declare idempotent=True."""

    def holds(self, *, job: str, error: str, reason: str, says: str) -> bool:
        pairs = ((self.jobs, job), (self.errors, error), (self.reasons, reason))
        return self.says in says and all(any(fnmatchcase(text, one) for one in patterns) for patterns, text in pairs)


DEFAULT_RULES = (Rule(errors=NETWORK),)


class DlqSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    rules: tuple[Rule, ...] = DEFAULT_RULES
    """Which letters are replayed. Default: network errors and timeouts, in jobs that declare idempotent=True."""
    look_at: int = Field(default=2000, ge=1, le=10_000)
    """How many dead letters one run reads, the newest first. 2,000 take about a second."""
    most_each: int = Field(default=3, ge=0, le=20)
    """How often this job replays one piece of work. 0: nothing is replayed, everything is reported."""
    most_at_once: int = Field(default=20, ge=1, le=200)
    """How many letters one run of this job replays."""
    most_an_hour: int = Field(default=60, ge=1, le=1000)
    """How many letters of one job are replayed in an hour."""
    rest_seconds: float = Field(default=300, ge=0, le=86_400)
    """How long a letter waits before its first replay. The wait doubles with each further replay."""
    stop_seconds: float = Field(default=1800, gt=0, le=86_400)
    """How long no letter of a job is replayed after one of its replays failed. Then one is replayed as a test."""
