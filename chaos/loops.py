"""When the event loop of each worker was seen at work, and when a job is known to have blocked it.

Each beginning of a job on the loop is a sighting.

A job on the event loop can begin only after the store has answered a claim of that worker. So sightings in close
sequence say that loop and store both worked. A job that blocks the loop, or a machine without time for the worker,
leaves a gap.
"""

from collections import defaultdict
from itertools import pairwise

from chaos.journal import Attempt, Journal
from chaos.workload import BLOCKERS, ON_LOOP, Workload

GAP_SECONDS = 0.5
"""A longer gap between two sightings counts as so much."""
FAR_SECONDS = 10.0
"""No claim is answered so late that its run begins later: the client gives up."""


class Loops:
    def __init__(self, journal: Journal, jobs: dict[str, Workload]) -> None:
        self._seen: dict[str, list[float]] = defaultdict(list)
        self._blocked: list[tuple[str, float, float]] = []
        """A worker, and since when and until when a job blocked its loop."""
        for attempts in journal.attempts.values():
            for attempt in filter(lambda one: _on_loop(one, jobs), attempts):
                begin, job = attempt.begin, jobs[attempt.begin.job]
                self._seen[begin.worker].append(begin.at)
                if job.how in BLOCKERS:
                    # A blocker that died with its worker has no end.
                    until = attempt.end.at if attempt.end else begin.at + job.seconds
                    self._blocked.append((begin.worker, begin.at, until))
        for seen in self._seen.values():
            seen.sort()

    def worked(self, worker: str, since: float, seconds: float) -> float:
        """The instant by which the loop had worked for so many seconds after `since`; infinity if nothing says so."""
        left = seconds
        for one, other in pairwise([since, *(at for at in self._seen[worker] if at > since)]):
            counts = min(other - one, GAP_SECONDS)
            if counts >= left:
                return one + left
            left -= counts
        return float("inf")

    def worked_before(self, worker: str, until: float, seconds: float) -> float:
        """The instant since which the loop had worked for so many seconds until `until`, at most FAR_SECONDS before."""
        left = seconds
        for one, other in pairwise([until, *(at for at in reversed(self._seen[worker]) if at < until)]):
            counts = min(one - other, GAP_SECONDS)
            if counts >= left:
                return max(one - left, until - FAR_SECONDS)
            left -= counts
        return until - FAR_SECONDS

    def blocked(self, killed: str, since: float, until: float) -> float:
        """For how many of these seconds a job blocked the loop of a worker other than `killed`."""
        spans = [(max(at, since), min(end, until)) for worker, at, end in self._blocked if worker != killed]
        return sum(max(0.0, end - at) for at, end in spans)


def _on_loop(attempt: Attempt, jobs: dict[str, Workload]) -> bool:
    """A later attempt may be that of a suspect, which runs in a child whatever it is."""
    return attempt.begin.attempt == 1 and jobs[attempt.begin.job].how in ON_LOOP
