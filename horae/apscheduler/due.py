"""Finds the newest fires of a job in a gap, without computing all fires of a long gap."""

from collections import deque
from datetime import datetime, timedelta

from horae.jobs.job import Job


def newest_due(job: Job, after: datetime, until: datetime, most: int) -> list[datetime]:
    """The newest `most` fires after one instant and up to another, oldest first."""
    span = timedelta(seconds=most)
    while until - span > after:
        found = _walk(job, until - span, until, most)
        if len(found) == most:
            return found
        span *= 2
    return _walk(job, after, until, most)


def _walk(job: Job, after: datetime, until: datetime, most: int) -> list[datetime]:
    found: deque[datetime] = deque(maxlen=most)
    at = job.next_fire(after)
    while at is not None and at <= until:
        found.append(at)
        at = job.next_fire(at)
    return list(found)
