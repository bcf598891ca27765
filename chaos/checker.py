"""Judges a chaos run by the journal and the driver's record alone: the ledger is not asked.

An extra run is explained only by a blow that fell on the earlier attempt: on its worker or on the store, while it ran
or before its end can have been settled. A blow on a sidecar, or on another worker, explains none; nor does a wrong
clock or a lost key.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

from chaos.fires import Fires
from chaos.journal import Attempt, Journal
from chaos.loops import Loops
from chaos.plan import Blow
from chaos.record import STORE, Hit, Record
from chaos.violation import Fault, Violation

CLAIM_SECONDS = 1.0
"""From a claim to the job's first line, of time in which the worker's event loop was seen at work."""
SETTLE_SECONDS = 2.0
"""From the job's last line to its settling, of time in which its worker's event loop was seen at work."""
REDELIVERY_SECONDS = 10.0
"""The promise, for a killed worker whose fellow is left in peace."""
DEATHS = 10
"""A run that outlives so many workers is failed as `worker died`, by rule."""


@dataclass(kw_only=True, slots=True)
class Findings:
    violations: list[Violation] = field(default_factory=list)
    fires: int = 0
    """In the window, of jobs whose every fire runs."""
    explained: Counter[Blow] = field(default_factory=Counter)
    """Extra runs, by the blow that fell on the earlier attempt; on its worker before on the store."""
    gaps: int = 0
    """Claims whose worker was hit before the job's first line."""
    forgotten: set[tuple[str, datetime]] = field(default_factory=set)
    """Fires (job, instant) that were due while the store had lost their schedule and a sidecar was started."""
    given_up: set[str] = field(default_factory=set)
    """Runs without an effect that were hit so often that the rule fails them. The ledger must agree."""
    redeliveries: list[float] = field(default_factory=list)
    """Seconds from a worker's `kill -9` to the next beginning of each run that it was in, ascending."""
    undisturbed: list[float] = field(default_factory=list)
    """Those of them during which no other blow fell, without the time in which a job blocked the other worker."""

    @property
    def unexplained(self) -> int:
        return sum(violation.fault is Fault.EXTRA for violation in self.violations)

    @property
    def lost(self) -> int:
        return sum(violation.fault is Fault.LOST for violation in self.violations)


def check(journal: Journal, record: Record) -> Findings:
    return Checker(journal, record).findings()


class Checker:
    def __init__(self, journal: Journal, record: Record) -> None:
        self._journal, self._record = journal, record
        self._jobs = {job.name: job for job in record.jobs}
        self._found = Findings()
        self._done = journal.done
        self._blows = [hit for hit in record.hits if hit.blow.repeats]
        self._hits: dict[str, list[Hit]] = defaultdict(list)
        for hit in self._blows:
            self._hits[hit.on].append(hit)
        self._fires = Fires(journal, record)
        self._loops = Loops(journal, self._jobs)

    def findings(self) -> Findings:
        for run, attempts in self._journal.attempts.items():
            self._check_attempts(run, attempts)
        self._check_tokens()
        self._check_effects()
        self._check_accepted()
        self._check_fires()
        self._check_alone()
        self._check_redeliveries()
        return self._found

    def _say(self, fault: Fault, job: str, run_id: str, text: str) -> None:
        self._found.violations.append(Violation(fault=fault, job=job, run_id=run_id, text=text))

    def _check_attempts(self, run_id: str, attempts: list[Attempt]) -> None:
        job = attempts[0].begin.job
        for earlier, later in pairwise(attempts):
            if earlier.raised and later.begin.token > earlier.begin.token:
                continue  # a retry
            if hit := self._hit(earlier, later):
                self._found.explained[hit.blow] += 1
            else:
                self._say(Fault.EXTRA, job, run_id, f"{_said(later)} began although nothing had hit {_said(earlier)}")
        self._check_gaps(run_id, job, attempts)

    def _check_gaps(self, run_id: str, job: str, attempts: list[Attempt]) -> None:
        """A claim whose worker was hit before the job's first line leaves a gap, and needs a blow all the same."""
        before, since = 0, None
        for attempt in attempts:
            missing = attempt.begin.attempt - before - 1
            if missing > 0:
                blows = [hit for hit in self._blows if self._touches(hit, since, attempt.begin.at)]
                self._found.gaps += missing
                if not blows:
                    text = f"{_said(attempt)} follows attempt {before}, but no blow hit in between"
                    self._say(Fault.SKIPPED_CLAIM, job, run_id, text)
            before, since = attempt.begin.attempt, attempt.begin.at

    def _touches(self, hit: Hit, since: float | None, until: float) -> bool:
        if hit.blow.on_sidecar or hit.blow is Blow.CUT_FRONT_DOOR or hit.began > until:
            return False
        return since is None or hit.ended >= since - CLAIM_SECONDS

    def _hit(self, earlier: Attempt, later: Attempt) -> Hit | None:
        """The blow that explains why the later one could begin."""
        begin = earlier.begin
        until = later.begin.at
        if earlier.end:
            until = min(until, self._loops.worked(begin.worker, earlier.end.at, SETTLE_SECONDS))
        blows = (*self._hits[begin.worker], *self._hits[STORE])
        since = self._loops.worked_before(begin.worker, begin.at, CLAIM_SECONDS)
        return next((hit for hit in blows if hit.began <= until and hit.ended >= since), None)

    def _check_tokens(self) -> None:
        """Each claim has a token of its own, and on one run a later attempt has a higher one."""
        holders: dict[int, str] = {}
        for run, attempts in self._journal.attempts.items():
            for attempt in attempts:
                begin = attempt.begin
                if begin.token in holders:
                    text = f"token {begin.token} is also the token of a claim on {holders[begin.token]}"
                    self._say(Fault.TOKEN, begin.job, run, text)
                holders[begin.token] = run
            for lower, higher in pairwise(attempts):
                if lower.begin.attempt >= higher.begin.attempt:
                    text = f"{_said(higher)} does not follow {_said(lower)}"
                    self._say(Fault.TOKEN, higher.begin.job, run, text)

    def _check_effects(self) -> None:
        """In the order of the resource: no effect under a token once a newer one had begun; no token begins twice."""
        newest: dict[str, int] = {}
        begun: set[tuple[str, int]] = set()
        for entry in self._journal.effects:
            job = self._job_of(entry.run_id)
            if entry.what == "began":
                if (entry.run_id, entry.token) in begun:
                    self._say(Fault.TOKEN, job, entry.run_id, f"token {entry.token} began twice")
                begun.add((entry.run_id, entry.token))
                newest[entry.run_id] = max(newest.get(entry.run_id, 0), entry.token)
            elif entry.what == "done" and entry.token < newest.get(entry.run_id, 0):
                text = f"an effect under token {entry.token} after the attempt with token {newest[entry.run_id]} began"
                self._say(Fault.TOKEN, job, entry.run_id, text)

    def _job_of(self, run_id: str) -> str:
        attempts = self._journal.attempts.get(run_id)
        return attempts[0].begin.job if attempts else "?"

    def _check_accepted(self) -> None:
        accepted = {one.run_id: one for one in self._record.accepted}
        for run, one in accepted.items():
            self._check_done(run, one.job, "accepted")
        for run, attempts in self._journal.attempts.items():
            begin = attempts[0].begin
            if begin.scheduled_for is None and run not in accepted:
                self._say(Fault.STRAY, begin.job, run, "the run was never accepted")

    def _check_done(self, run_id: str, job: str, what: str) -> None:
        if run_id in self._done:
            return
        attempts = self._journal.attempts.get(run_id, [])
        if attempts and self._may_be_given_up(attempts[-1]):
            self._found.given_up.add(run_id)
        else:
            self._say(Fault.LOST, job, run_id, f"{what}, begun {len(attempts)} times, and never finished")

    def _may_be_given_up(self, last: Attempt) -> bool:
        """The last claim that the rule allows was hit, seen in the journal or before its first line."""
        begin = last.begin
        own = [hit for hit in (*self._hits[begin.worker], *self._hits[STORE]) if hit.ended >= begin.at - CLAIM_SECONDS]
        later = [hit for hit in self._blows if self._touches(hit, begin.at, float("inf"))]
        return bool(own) and begin.attempt + (len(later) > 1) >= DEATHS

    def _check_fires(self) -> None:
        runs_of = self._journal.fires()
        for (job, instant), runs in runs_of.items():
            if len(runs) > 1:
                self._say(Fault.TWICE, job, " ".join(runs), f"both runs are of the fire {instant:%H:%M:%S}")
            period = self._jobs[job].period_seconds
            if not period or instant.timestamp() % period:
                self._say(Fault.STRAY, job, runs[0], f"{instant.isoformat()} is not a fire of this job")
        self._found.violations += self._fires.violations()
        for workload in filter(lambda job: job.every_fire_runs, self._record.jobs):
            for instant in self._record.expected_fires(workload):
                self._found.fires += 1
                runs = runs_of.get((workload.name, instant), [])
                if runs:
                    self._check_done(runs[0], workload.name, f"fired for {instant:%H:%M:%S}")
                elif self._fires.forgotten(workload.name, instant):
                    self._found.forgotten.add((workload.name, instant))
                else:
                    self._say(Fault.MISSING_FIRE, workload.name, "", instant.isoformat())

    def _check_alone(self) -> None:
        """Of a job with overlap="skip", a run begins beside another only if a blow had hit the other."""
        for job in self._record.jobs:
            if job.overlap == "allow":
                continue
            attempts = [one for runs in self._journal.attempts.values() for one in runs if one.begin.job == job.name]
            attempts.sort(key=lambda one: one.begin.at)
            for earlier, later in pairwise(attempts):
                over = earlier.end and earlier.end.at <= later.begin.at
                explained = self._hit(earlier, later) or self._hit(later, later)
                if not over and earlier.begin.run_id != later.begin.run_id and not explained:
                    self._say(Fault.OVERLAP, job.name, later.begin.run_id, f"beside {earlier.begin.run_id}")

    def _check_redeliveries(self) -> None:
        kills = {hit.on: hit for hit in self._blows if hit.blow is Blow.KILL_WORKER}
        for attempts in self._journal.attempts.values():
            for earlier, later in pairwise(attempts):
                kill, begin = kills.get(earlier.begin.worker), later.begin
                if kill is None or earlier.end or kill.began > begin.at:
                    continue
                took = begin.at - kill.began
                self._found.redeliveries.append(took)
                took -= self._loops.blocked(kill.on, kill.began, begin.at)
                if self._disturbed(kill, begin.at):
                    continue
                self._found.undisturbed.append(took)
                if took > REDELIVERY_SECONDS:
                    self._say(Fault.LATE, begin.job, begin.run_id, f"{took:.1f} s after {kill.on} was killed")
        self._found.redeliveries.sort()
        self._found.undisturbed.sort()

    def _disturbed(self, kill: Hit, until: float) -> bool:
        return any(
            hit is not kill and hit.began <= until and hit.ended >= kill.began - SETTLE_SECONDS
            for hit in self._record.hits
            if hit.blow.repeats or hit.blow.on_broker
        )


def _said(attempt: Attempt) -> str:
    begin = attempt.begin
    return f"attempt {begin.attempt} (token {begin.token}, {begin.worker})"
