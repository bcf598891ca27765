"""Judges when fires began: never early, and those of internal jobs in time, whatever the clocks of the hosts show."""

from collections.abc import Iterator
from datetime import datetime

from chaos.journal import Journal, Line
from chaos.plan import Blow
from chaos.record import KEY, STORE, Hit, Record
from chaos.violation import Fault, Violation

EARLY_SECONDS = 1.0
"""Before its instant a fire may begin by so much: a host's clock is followed while it is about right."""
ALONE_SECONDS = 2.0
"""A sidecar that is up has asked the store for the time by then."""
INTERNAL_SECONDS = 10.0
"""By then a fire of an internal job has begun, and around so much nothing must have hit a sidecar or the store."""
DECLARED_SECONDS = 15.0
"""After the loss of its schedule a job is declared again by then."""


class Fires:
    def __init__(self, journal: Journal, record: Record) -> None:
        self._journal, self._record = journal, record
        self._began: dict[tuple[str, datetime], Line] = {}
        for fire, runs in journal.fires().items():
            self._began[fire] = min((journal.attempts[run][0].begin for run in runs), key=lambda line: line.at)
        self._on_sidecars = [hit for hit in record.hits if hit.blow.on_sidecar and hit.blow.repeats]
        self._disturbing = [*self._on_sidecars, *(hit for hit in record.hits if hit.on == STORE)]

    def violations(self) -> Iterator[Violation]:
        internal = {job.name for job in self._record.jobs if job.internal}
        for (name, instant), line in self._began.items():
            early = self._record.monotonic(instant) - line.at
            if early > EARLY_SECONDS and not (name in internal and self._started_alone(line.worker)):
                text = f"{instant.isoformat()} began {early:.1f} s early"
                yield Violation(fault=Fault.EARLY, job=name, run_id="", text=text)
        for job in filter(lambda job: job.internal, self._record.jobs):
            for instant in self._record.expected_fires(job):
                due = self._record.monotonic(instant)
                began = self._began.get((job.name, instant))
                late = began is None or began.at - due > INTERNAL_SECONDS
                if late and not self._disturbed(due):
                    yield Violation(fault=Fault.MISSING_FIRE, job=job.name, run_id="", text=instant.isoformat())

    def _started_alone(self, sidecar: str) -> bool:
        """Whether the store was away when it started, so that it had only the clock of its host."""
        if sidecar not in self._record.starts:
            return False
        began, up = self._record.starts[sidecar]
        return any(
            hit.on == STORE and hit.began <= up + ALONE_SECONDS and hit.ended >= began for hit in self._disturbing
        )

    def _disturbed(self, due: float) -> bool:
        return any(_near(hit, due, INTERNAL_SECONDS) for hit in self._disturbing)

    def forgotten(self, job: str, instant: datetime) -> bool:
        """Whether the store had lost the schedule just before, and a sidecar was started that did not know of it."""
        due = self._record.monotonic(instant)
        return any(
            hit.on == f"{KEY}job:{job}"
            and hit.began - EARLY_SECONDS <= due <= hit.began + DECLARED_SECONDS
            and any(
                one.blow in (Blow.KILL_SIDECAR, Blow.STOP_SIDECAR) and _near(one, hit.began, DECLARED_SECONDS)
                for one in self._on_sidecars
            )
            for hit in self._record.hits
        )


def _near(hit: Hit, at: float, seconds: float) -> bool:
    return hit.began - seconds <= at <= hit.ended + seconds
