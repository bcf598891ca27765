"""Dead letters without payload, for grouping by cause."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from horae import Job
from horae.errors import InvalidJob

if TYPE_CHECKING:
    from horae.store.values import DeadLetter

COUNT = "dlq_replays"
"""Key in a run's metadata: the number of replays by this job, counted from 1. A manual replay keeps the number."""
SAYS_CHARACTERS = 500
NO_JOB = "(no message)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Letter:
    """A dead letter without its payload."""

    run_id: str
    job: str
    at: datetime
    reason: str
    error: str
    """The class name of the exception; empty when there was none."""
    says: str
    replays: int
    """The number of replays by this job so far."""
    refused: str = ""
    """Why the job no longer accepts the letter's context; empty when it does."""

    @property
    def cause(self) -> str:
        """Letters with the same cause are one group."""
        job, error = self.job or NO_JOB, f" {self.error}" if self.error else ""
        return f"{job}: {self.reason}{error}"


def letter_of(found: "DeadLetter", jobs: Mapping[str, Job]) -> Letter:
    """`jobs`: the durable ones, by name."""
    failure, message = found.failure, found.message
    return Letter(
        run_id=found.run_id,
        job=message.job if message else "",
        at=found.at,
        reason=found.reason.value if found.reason else "no reason given",
        error=failure.type if failure else "",
        says=(failure.message if failure else found.note)[:SAYS_CHARACTERS],
        replays=replays_of(message.metadata) if message else 0,
        refused=_refusal(jobs.get(message.job), message.context) if message else "",
    )


def _refusal(job: Job | None, context: Mapping[str, Any]) -> str:
    try:
        if job:
            job.accepts(context)
    except InvalidJob as error:
        return error.message
    return ""


def replays_of(metadata: Mapping[str, Any]) -> int:
    """The count in a run's metadata. An invalid count counts as too many."""
    given = metadata.get(COUNT, 0)
    return given if isinstance(given, int) and not isinstance(given, bool) and given >= 0 else 1_000_000


def mark_of(text: str) -> str:
    """A short name for a group, for the list of those that were raised."""
    import hashlib

    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]
