"""The driver's own record: what was accepted, which blows fell where and when, and the window that is judged."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from chaos.plan import Blow
from chaos.workload import Workload

STORE = "store"
"""Where a blow falls that every process feels."""
BROKER = "broker"
"""Where a blow falls that all clients of the broker feel."""
KEY = "key "
"""Begins what a lost key is called in a record."""
OLDER = "-beside"
"""Ends the name of a process of the revision that runs beside this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A blow as it fell. Instants are CLOCK_MONOTONIC, in seconds."""

    blow: Blow
    on: str
    """The process, by the name that no later one has; or STORE; or BROKER; or KEY and the key that was lost."""
    began: float
    ended: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """A run that the front door said it had accepted."""

    run_id: str
    job: str
    at: float


@dataclass(kw_only=True, slots=True)
class Record:
    jobs: tuple[Workload, ...]
    window: tuple[datetime, datetime]
    """Fires after the first and up to the second instant are judged: all jobs were declared, and all was awaited."""
    epoch: float = 0.0
    """Seconds since the Unix epoch at which the monotonic clock stood at 0."""
    accepted: list[Accepted] = field(default_factory=list)
    refused: int = 0
    """Enqueues that were refused with an error, and asked for again under the same run."""
    hits: list[Hit] = field(default_factory=list)
    starts: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Of each process: when it was started and when it was up, CLOCK_MONOTONIC in seconds."""
    exits: dict[str, int] = field(default_factory=dict)
    """Exit status of each process that was asked to end."""
    stopped: list[float] = field(default_factory=list)
    """How many seconds each process took to end after SIGTERM."""
    dead_letters: dict[str, str] = field(default_factory=dict)
    """What lay dead at the end: run or letter, and why."""
    left: list[int] = field(default_factory=list)
    """Pids of this run that were still there when all was over."""

    def expected_fires(self, job: Workload) -> list[datetime]:
        """From the definition alone: every multiple of the period since the Unix epoch that lies in the window."""
        begin, end = (instant.timestamp() for instant in self.window)
        first = int(begin // job.period_seconds) + 1
        last = int(end // job.period_seconds)
        return [
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number * job.period_seconds)
            for number in range(first, last + 1)
        ]

    def monotonic(self, instant: datetime) -> float:
        """That instant on the monotonic clock."""
        return instant.timestamp() - self.epoch

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, default=str)
