"""The JSON of `horae move`. Documented in docs/reference/json.md."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Moved:
    """What a move did, or what it would do."""

    job: str | None
    """None: all jobs."""
    provider: str
    record: bool
    """Whether the store has a record then. False: the code says the same, so none is needed."""
    done: bool
    """False: only a preview."""
    outbox: int
    """Runs that wait in the outboxes of other providers: those that the move took along, or in a preview at most."""
    queued: int
    """Runs whose message another provider already has. They run where they are."""
    by_name: Mapping[str, str]
    """With all jobs: the jobs that have a record of their own, which goes before this one."""


def moved_shape(moved: Moved) -> dict[str, Any]:
    return {
        "job": moved.job,
        "provider": moved.provider,
        "record": moved.record,
        "done": moved.done,
        "outbox": moved.outbox,
        "queued": moved.queued,
        "moved_by_name": dict(moved.by_name),
    }
