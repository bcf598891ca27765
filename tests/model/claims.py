"""Claims of the model."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from horae.jobs.policies import CatchUp, Overlap, Tier
from horae.messages import Message
from horae.reasons import Reason, worded
from horae.runs import Cause, Run, State, Verdict
from horae.store.values import (
    Answer,
    Cancelled,
    Claim,
    Happening,
    Lapsed,
    NewRun,
    Policy,
    Settlement,
    Stop,
    Wanted,
)
from tests.model.books import DEATHS, GRACE, LAPSES, OPEN, UNKNOWN_JOB, UNKNOWN_JOB_WAIT, Noun, locked
from tests.model.retention import in_order


class ModelClaims(Noun):
    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        with self.books.lock:
            return [self._claim(want, worker, lease) for want in wanted]

    async def begin(
        self,
        run: NewRun,
        overlap: Overlap,
        worker: str,
        lease: timedelta,
        *,
        concurrency: int | None = None,
        waits: bool = False,
    ) -> Claim:
        with self.books.lock:
            policy = Policy(overlap=overlap, catch_up=CatchUp.ALL, concurrency=concurrency)
            if waits and self._busy(run.job, policy):
                return Claim(message=run.message, answer=Answer.LATER, reason=Reason.OVERLAP)
            if not self.books.put(run):
                return Claim(message=run.message, answer=Answer.DUPLICATE)
            if run.cause is not Cause.MANUAL and self.books.paused & {run.job, None}:
                return self._settled(run.message, Verdict.SKIPPED, Reason.PAUSED)
            answer = self._overlap(run.message, policy, here=True)
            return answer or self._grant(run.message, worker, lease)

    def _busy(self, job: str, policy: Policy) -> bool:
        others = in_order(self.books.active[job])
        if not others or (policy.overlap is Overlap.ALLOW and (policy.most == 0 or len(others) < policy.most)):
            return False
        return policy.overlap is not Overlap.CANCEL_OTHER or self._cancel_all(others)

    async def again(self, attempt: Settlement) -> bool:
        books, run_id = self.books, attempt.claim.message.run_id
        with books.lock:
            if not books.holds(attempt.claim):
                return False
            if attempt.failure:
                books.change(run_id, failure=attempt.failure)
            if attempt.retry_after is not None and not attempt.died:
                books.rows[run_id].failures += 1
            attempts = books.rows[run_id].run.attempts + 1
            books.change(run_id, attempts=attempts, started_at=books.clock(), progress="")
            books.tell(run_id, "retrying", worded(attempt.reason, attempt.note))
            return True

    def _claim(self, want: Wanted, worker: str, lease: timedelta) -> Claim:
        books, message, policy = self.books, want.message, want.policy
        if books.row(message.run_id) is None and not want.adopt:
            return Claim(message=message, answer=Answer.NO_ROW)
        if books.row(message.run_id) is None and (answer := self._adopt(want)):
            return answer
        row = books.rows[message.run_id]
        if row.run.state not in OPEN or row.generation != message.generation or row.run.job != message.job:
            return Claim(message=message, answer=Answer.DUPLICATE, reason=row.run.state.value)
        if row.run.state is not State.QUEUED and (row.run.not_before or books.clock()) > books.clock():
            return Claim(message=message, answer=Answer.EARLY)
        if policy is None:
            return self._disown(message, worker)
        if reason := self._missed(row.run, policy):
            return self._settled(message, Verdict.MISSED, reason)
        if books.paused & {message.job, None}:
            if row.run.cause is Cause.SCHEDULE and not row.run.attempts and policy.catch_up is CatchUp.NONE:
                return self._settled(message, Verdict.SKIPPED, Reason.PAUSED)
            return self._wait(message, policy, Reason.PAUSED, "the job is paused")
        return self._overlap(message, policy) or self._grant(message, worker, lease)

    def _settled(self, message: Message, verdict: Verdict, reason: Reason, note: str = "") -> Claim:
        self.books.settle(message.run_id, verdict, reason, note)
        return Claim(message=message, answer=Answer.SETTLED, reason=f"{verdict.value}: {worded(reason, note)}")

    def _adopt(self, want: Wanted) -> Claim | None:
        """Accept a message without a row, which was published straight to a broker."""
        books, message = self.books, want.message
        if message.made_at and not books.retention.reaches(message.job, message.made_at):
            return Claim(message=message, answer=Answer.TOO_OLD, reason=Reason.TOO_OLD.value)
        books.put(
            NewRun(
                run_id=message.run_id,
                job=message.job,
                tier=Tier.ONEIRIC,
                cause=Cause.ENQUEUE,
                scheduled_for=message.scheduled_for,
                priority=message.priority,
                context=message.context,
                metadata=message.metadata,
                unique=want.unique,
            )
        )
        books.rows[message.run_id].generation = message.generation
        if want.unique:
            holder = books.unique.setdefault((message.job, want.unique), message.run_id)
            if holder != message.run_id:
                return self._settled(message, Verdict.SKIPPED, Reason.DUPLICATE, holder)
        return None

    def _missed(self, run: Run, policy: Policy) -> Reason | None:
        """Apply the catch-up policy to a fire that was never begun. Returns why it must not run any more, or None."""
        if run.cause is not Cause.SCHEDULE or run.attempts or not run.scheduled_for:
            return None
        late = self.books.clock() - run.scheduled_for
        if late > policy.catch_up_window:
            return Reason.TOO_LATE
        if late <= GRACE:
            return None
        if policy.catch_up is CatchUp.NONE:
            return Reason.NOT_CAUGHT_UP
        newest, heir = self.books.newest[run.job], self.books.heirs.get(run.job)
        if policy.catch_up is not CatchUp.LATEST or newest <= run.scheduled_for or heir == run.scheduled_for:
            # Older fires were dropped in favour of this one, so it runs even if a newer one exists. Otherwise a job
            # that is always late would never run.
            return None
        if heir is None or heir < run.scheduled_for:
            self.books.heirs[run.job] = newest
        return Reason.SUPERSEDED

    def _grant(self, message: Message, worker: str, lease: timedelta) -> Claim:
        books, run_id = self.books, message.run_id
        row, now = books.rows[run_id], books.clock()
        books.token += 1
        row.token, row.cancel, row.unknown_since = books.token, "", None
        attempts = row.run.attempts + 1
        books.change(run_id, state=State.RUNNING, started_at=now, worker=worker, attempts=attempts, progress="")
        books.tell(run_id, "claimed", worker)
        books.leases[run_id] = now + lease
        books.active[message.job][run_id] = now
        books.outbox.pop(run_id, None)
        books.queued.pop(run_id, None)
        books.waiting[message.job].pop(run_id, None)
        due = row.run.scheduled_for if row.run.cause is Cause.SCHEDULE and attempts == 1 else None
        if due and now - due > books.late_after:
            books.notice(Happening.LATE, run_id, None, f"{int((now - due).total_seconds())} s late")
        return Claim(
            message=row.own_message(message),
            answer=Answer.RUN,
            token=row.token,
            attempts=attempts,
            failures=row.failures,
            alone=row.suspect,
        )

    def _disown(self, message: Message, worker: str) -> Claim:
        books, row = self.books, self.books.rows[message.run_id]
        row.unknown_since = row.unknown_since or books.clock()
        if books.clock() - row.unknown_since >= UNKNOWN_JOB:
            return self._settled(message, Verdict.FAILED, Reason.UNKNOWN_JOB)
        note = f"{worker} does not know the job"
        digest = hashlib.sha1(f"{message.run_id}:{row.generation}".encode(), usedforsecurity=False).hexdigest()
        # Vary the wait. After a constant wait, the worker that gave the run back would have polled longest and get it.
        rest = UNKNOWN_JOB_WAIT - timedelta(milliseconds=int(digest[:6], 16) % 1000)
        books.hand_out_again(message.run_id, State.PENDING, rest, "handed back", note)
        return Claim(message=message, answer=Answer.LATER, reason=Reason.UNKNOWN_JOB.value)

    def _overlap(self, message: Message, policy: Policy, *, here: bool = False) -> Claim | None:
        """`here`: the run runs in this process or not at all."""
        run = self.books.rows[message.run_id].run
        if policy.overlap is Overlap.ALLOW and policy.most == 0:
            return None
        others = [run_id for run_id in in_order(self.books.active[message.job]) if run_id != message.run_id]
        if not others or (policy.overlap is Overlap.ALLOW and len(others) < policy.most):
            return None
        if run.cause is Cause.SCHEDULE and not run.attempts and policy.overlap is Overlap.SKIP:
            return self._settled(message, Verdict.SKIPPED, Reason.OVERLAP)
        if policy.overlap is Overlap.CANCEL_OTHER and not self._cancel_all(others):
            return None
        if here:
            return self._settled(message, Verdict.SKIPPED, Reason.OVERLAP)
        return self._wait(message, policy, Reason.OVERLAP, "another run of the job is active")

    def _wait(self, message: Message, policy: Policy, why: Reason, note: str) -> Claim:
        books = self.books
        fire = books.rows[message.run_id].run.cause is Cause.SCHEDULE
        if fire and policy.catch_up is CatchUp.LATEST and self._supersede(message):
            return self._settled(message, Verdict.MISSED, Reason.SUPERSEDED)
        books.outbox.pop(message.run_id, None)
        books.queued.pop(message.run_id, None)
        books.active[message.job].pop(message.run_id, None)  # so that it does not wait for itself
        row = books.rows[message.run_id]
        row.waits_since = row.waits_since or (row.run.scheduled_for if fire else None) or books.clock()
        books.waiting[message.job][message.run_id] = row.waits_since
        books.bounds[message.job] = policy.most
        books.change(message.run_id, state=State.PENDING)
        books.tell(message.run_id, "waits", note)
        # Raise the generation: copies of the old message are duplicates, and a late `published` removes nothing.
        books.rows[message.run_id].generation += 1
        return Claim(message=message, answer=Answer.LATER, reason=why.value)

    def _cancel_all(self, others: list[str]) -> bool:
        runs = False
        for run_id in others:
            if self.books.rows[run_id].run.state is State.RUNNING:
                self.books.rows[run_id].cancel = Stop.OVERLAP.value
                runs = True
            else:
                self.books.settle(run_id, Verdict.CANCELLED, Reason.OVERLAP)
        return runs

    def _supersede(self, message: Message) -> bool:
        """Settle waiting fires that were never begun and have a newer fire as missed. True if this one should be."""
        this = self.books.rows[message.run_id].run
        assert this.scheduled_for
        newer = False
        for run_id in in_order(self.books.waiting[message.job]):
            other = self.books.rows[run_id].run
            if other.cause is not Cause.SCHEDULE or other.scheduled_for is None:
                continue
            newer = newer or other.scheduled_for > this.scheduled_for
            if other.scheduled_for < this.scheduled_for and not other.attempts:
                self.books.settle(run_id, Verdict.MISSED, Reason.SUPERSEDED)
        return newer and not this.attempts

    @locked
    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Stop | None]:
        stops: list[Stop | None] = []
        for claim in claims:
            if not self.books.holds(claim):
                stops.append(Stop.LEASE_LOST)
                continue
            self.books.leases[claim.message.run_id] = self.books.clock() + lease
            cancel = self.books.rows[claim.message.run_id].cancel
            stops.append(Stop(cancel) if cancel else None)
        return stops

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        done = []
        with self.books.lock:
            for settlement in settlements:
                held = self.books.holds(settlement.claim)
                done.append(held)
                if held:
                    self._settle(settlement)
        return done

    def _settle(self, settlement: Settlement) -> None:
        books, run_id = self.books, settlement.claim.message.run_id
        words = worded(settlement.reason, settlement.note)
        if settlement.failure:
            books.change(run_id, failure=settlement.failure)
        if settlement.verdict:
            fields = {} if settlement.result is None else {"result": settlement.result}
            books.settle(run_id, settlement.verdict, settlement.reason, settlement.note, **fields)
        elif settlement.died:
            self._died(settlement)
        elif settlement.retry_after is not None:
            books.rows[run_id].failures += 1
            books.hand_out_again(run_id, State.RETRYING, settlement.retry_after, "retrying", words)
        else:
            books.hand_out_again(run_id, State.PENDING, timedelta(0), "handed back", words)

    def _died(self, settlement: Settlement) -> None:
        """The run killed its process: hand it out again, to run alone; fail it the DEATHS-th time."""
        books, run_id = self.books, settlement.claim.message.run_id
        row = books.rows[run_id]
        row.deaths, row.suspect = row.deaths + 1, True
        if row.deaths >= DEATHS:
            books.settle(run_id, Verdict.FAILED, Reason.KILLED_ITS_PROCESS, str(row.deaths))
        else:
            delay = settlement.retry_after or timedelta(0)
            books.hand_out_again(
                run_id, State.RETRYING, delay, "killed its process", worded(settlement.reason, settlement.note)
            )

    async def sweep(self, limit: int) -> list[Lapsed]:
        books, found = self.books, []
        with books.lock:
            now = books.clock()
            for run_id in in_order({run_id: until for run_id, until in books.leases.items() if until <= now})[:limit]:
                row = books.rows[run_id]
                run = row.run
                row.lapses, row.suspect = row.lapses + 1, True
                verdict = None
                if run.tier is not Tier.ONEIRIC or row.lapses >= LAPSES:
                    verdict = Verdict.FAILED
                    books.settle(run_id, verdict, Reason.WORKER_DIED)
                else:
                    verdict = books.hand_out_again(run_id, State.PENDING, timedelta(0), "lease ran out", run.worker)
                found.append(Lapsed(run_id=run_id, job=run.job, verdict=verdict, worker=run.worker))
        return found

    async def report(self, claim: Claim, text: str) -> None:
        with self.books.lock:
            if self.books.holds(claim):
                self.books.change(claim.message.run_id, progress=text)

    async def cancel(self, run_id: str) -> Cancelled:
        books = self.books
        with books.lock:
            row = books.row(run_id)
            if row is None:
                return Cancelled.UNKNOWN
            if row.run.state is State.RUNNING:
                row.cancel = Stop.REQUESTED.value
                return Cancelled.ASKED
            if row.run.state.settled:
                return Cancelled.SETTLED
            books.settle(run_id, Verdict.CANCELLED, Reason.REQUESTED)
            return Cancelled.CANCELLED
