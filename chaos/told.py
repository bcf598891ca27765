"""A journal and a record as a chaos run would leave them, to plant something in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from chaos.checker import DEATHS, Findings, check
from chaos.fence import Entry
from chaos.journal import Journal, Line, journal_of
from chaos.plan import Blow
from chaos.record import Accepted, Hit, Record
from chaos.workload import TICK, How, Workload

BEGIN = datetime(2026, 12, 1, 2, 0, 0, 500_000, tzinfo=UTC)
"""Of the window, at which the monotonic clock stands at 0."""
JOBS = (
    TICK,
    Workload(name="work"),
    Workload(name="child", how=How.CHILD),
    Workload(name="blocks", how=How.BLOCKING, seconds=9),
    Workload(name="alone", overlap="skip"),
)


class Told:
    """By default all is well: each fire has run."""

    def __init__(self, *, fires: int = 3) -> None:
        self.lines: list[Line] = []
        self.effects: list[Entry] = []
        self.record = Record(jobs=JOBS, window=(BEGIN, BEGIN + timedelta(seconds=fires)), epoch=BEGIN.timestamp())
        self._token = 0
        for number in range(fires):
            self.attempt(f"fire-{number}", job="tick", at=number + 0.6, fire=number)

    def accept(self, run_id: str, job: str = "work") -> None:
        self.record.accepted.append(Accepted(run_id=run_id, job=job, at=0))

    def attempt(
        self,
        run_id: str,
        *,
        job: str = "work",
        number: int = 1,
        at: float = 1,
        seconds: float | None = 0.1,
        worker: str = "worker-1",
        effect: str = "done",
        fire: int | None = None,
        token: int | None = None,
    ) -> int:
        """`seconds`: None for one that has no end."""
        self._token = self._token + 1 if token is None else token
        due = (BEGIN.replace(microsecond=0) + timedelta(seconds=fire + 1)).isoformat() if fire is not None else None
        begin = Line(
            what="begin",
            job=job,
            run_id=run_id,
            scheduled_for=due,
            attempt=number,
            token=self._token,
            worker=worker,
            pid=1,
            at=at,
            wall=BEGIN.timestamp() + at,
        )
        self.lines.append(begin)
        self.effects.append(Entry(run_id=run_id, token=self._token, what="began"))
        if seconds is not None:
            self.lines.append(replace(begin, what="end", at=at + seconds, effect=effect))
            if effect in ("done", "refused"):
                self.effects.append(Entry(run_id=run_id, token=self._token, what=effect))
        return self._token

    def busy(self, worker: str, *, since: float, until: float) -> None:
        """Its event loop is seen at work, five times a second."""
        for number in range(round((until - since) * 5) + 1):
            run_id = f"{worker} {since} {number}"
            self.accept(run_id)
            self.attempt(run_id, at=since + number / 5, worker=worker)

    def hit(self, blow: Blow, on: str, began: float, ended: float | None = None) -> None:
        self.record.hits.append(Hit(blow=blow, on=on, began=began, ended=began if ended is None else ended))

    @property
    def journal(self) -> Journal:
        return journal_of(self.lines, self.effects)

    def found(self) -> Findings:
        return check(self.journal, self.record)


def given_up() -> Told:
    """A run that as many workers died with as the rule allows."""
    told = Told()
    told.accept("a")
    for number in range(1, DEATHS + 1):
        told.attempt("a", number=number, at=10.0 * number, seconds=None, worker=f"worker-{number}")
        told.hit(Blow.KILL_WORKER, f"worker-{number}", 10.0 * number + 1)
    return told
