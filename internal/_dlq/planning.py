"""Decides the fate of each dead letter: a pure function of the letters, the rules and the earlier replays."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from horae import Job, Run, Verdict
from internal._dlq.letters import Letter, replays_of
from internal._dlq.settings import DlqSettings

HOUR = timedelta(hours=1)


class Fate(StrEnum):
    REPLAY = "replayed"
    RESTS = "waits before its next replay"
    WAITS = "waits for its turn"
    HELD = "waits: another run has the same uniqueness key"
    PAUSED = "waits: its job is paused"
    STOPPED = "stopped: a replay of this job failed again"
    EXHAUSTED = "replayed as often as allowed"
    NOT_TRANSIENT = "no rule classifies its error as transient"
    NOT_IDEMPOTENT = "its job does not declare idempotent=True"
    NO_JOB = "no such durable job is registered"
    REFUSED = "its job no longer accepts the context"
    NO_MESSAGE = "its content is not a valid message"
    UNKNOWN_HISTORY = "the result of earlier replays is unknown"


RAISED = frozenset(
    {Fate.STOPPED, Fate.EXHAUSTED, Fate.NOT_TRANSIENT, Fate.NOT_IDEMPOTENT, Fate.NO_JOB, Fate.REFUSED, Fate.NO_MESSAGE}
)
"""Fates that a person must look at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """The results of this job's replays of one other job."""

    last_hour: int = 0
    unsettled: int = 0
    failed_at: datetime | None = None
    """When the last settled replay failed; None if it did not fail or does not exist."""
    proven: bool = False
    """Whether the last settled replay ran."""

    @classmethod
    def of(cls, runs: Iterable[Run], now: datetime) -> "History":
        """Build it from the replays of a job in the ledger, in any order. Manual replays do not count."""
        own = [run for run in runs if run.replays and replays_of(run.metadata)]
        settled = [run for run in own if run.verdict in (Verdict.RAN, Verdict.FAILED) and run.ended_at]
        last = max(settled, key=lambda run: run.ended_at or now, default=None)
        return cls(
            last_hour=sum(run.accepted_at is not None and now - run.accepted_at < HOUR for run in own),
            unsettled=sum(run.verdict is None for run in own),
            failed_at=last.ended_at if last and last.verdict is Verdict.FAILED else None,
            proven=last is not None and last.verdict is Verdict.RAN,
        )

    def stopped(self, now: datetime, stop: timedelta) -> bool:
        return self.failed_at is not None and now - self.failed_at < stop

    def room(self, own: DlqSettings) -> int:
        """The number of letters that may be replayed now: one at a time until one replay has run."""
        if not self.proven:
            return 1 - min(1, self.unsettled) if self.last_hour < own.most_an_hour else 0
        return max(0, own.most_an_hour - self.last_hour)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    fates: dict[str, Fate] = field(default_factory=dict)
    """By run."""
    replay: Sequence[Letter] = ()
    """Oldest first."""


def judge(letter: Letter, job: Job | None, own: DlqSettings) -> Fate:
    """The fate by the letter alone: `WAITS` if it may be replayed, else the reason."""
    if not letter.job:
        return Fate.NO_MESSAGE
    if job is None:
        return Fate.NO_JOB
    if letter.refused:
        return Fate.REFUSED
    matching = [
        rule
        for rule in own.rules
        if rule.holds(job=letter.job, error=letter.error, reason=letter.reason, says=letter.says)
    ]
    if not matching:
        return Fate.NOT_TRANSIENT
    if not job.idempotent and not any(rule.not_idempotent_too for rule in matching):
        return Fate.NOT_IDEMPOTENT
    return Fate.WAITS if letter.replays < own.most_each else Fate.EXHAUSTED


def rests(letter: Letter, own: DlqSettings, now: datetime) -> bool:
    """Whether the run failed too recently. Each replay doubles the waiting time."""
    return now - letter.at < timedelta(seconds=own.rest_seconds) * (1 << min(letter.replays, 20))


def plan(
    letters: Iterable[Letter],
    judged: Mapping[str, Fate],
    histories: Mapping[str, History],
    paused: Callable[[str], bool],
    own: DlqSettings,
    now: datetime,
) -> Plan:
    """`judged`: the fates from `judge`, by run. `histories`: by job. A job without a history is not replayed, because
    it is unknown whether its replays fail again."""
    fates: dict[str, Fate] = dict(judged)
    chosen: list[Letter] = []
    taken: Counter[str] = Counter()
    for letter in sorted(letters, key=lambda letter: letter.at):
        if judged[letter.run_id] is not Fate.WAITS:
            continue
        history = histories.get(letter.job)
        if history is None:
            fates[letter.run_id] = Fate.UNKNOWN_HISTORY
        elif history.stopped(now, timedelta(seconds=own.stop_seconds)):
            fates[letter.run_id] = Fate.STOPPED
        elif paused(letter.job):
            fates[letter.run_id] = Fate.PAUSED
        elif rests(letter, own, now):
            fates[letter.run_id] = Fate.RESTS
        elif len(chosen) < own.most_at_once and taken[letter.job] < history.room(own):
            taken[letter.job] += 1
            chosen.append(letter)
            fates[letter.run_id] = Fate.REPLAY
    return Plan(fates=fates, replay=chosen)
