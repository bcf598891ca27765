"""Claims, in memory."""

from collections.abc import Sequence
from datetime import timedelta

from horae.jobs import CatchUp, Overlap, Tier
from horae.messages import Message
from horae.runs import Cause, State, Verdict
from horae.store.base import (
    Answer,
    Claim,
    Hold,
    Lapsed,
    NewRun,
    Settlement,
    Wanted,
)
from horae.store.memory.books import DEATHS, OPEN, UNKNOWN, UNKNOWN_WAIT, Noun, locked


class MemoryClaims(Noun):
    async def claim(self, wanted: Sequence[Wanted], worker: str, lease: timedelta) -> list[Claim]:
        with self.books.lock:
            return [self._claim(want, worker, lease) for want in wanted]

    async def begin(self, run: NewRun, overlap: Overlap, worker: str, lease: timedelta) -> Claim:
        with self.books.lock:
            message = Message(
                job=run.job,
                run=run.id,
                scheduled_for=run.scheduled_for,
                context=dict(run.context),
            )
            if not self.books.put(run):
                return Claim(message=message, answer=Answer.DUPLICATE)
            want = Wanted(message=message, tier=run.tier, overlap=overlap, catch_up=CatchUp.ALL)
            return self._claim(want, worker, lease)

    def _claim(self, want: Wanted, worker: str, lease: timedelta) -> Claim:
        books, message = self.books, want.message
        if message.run not in books.rows:
            self._accept(want)
        row = books.rows[message.run]
        if row.run.state not in OPEN or row.attempt != message.attempt or row.run.job != message.job:
            return Claim(message=message, answer=Answer.DUPLICATE, reason=row.run.state.value)
        if not want.known:
            return self._disown(message, worker)
        others = [id for id in books.active[message.job] if id != message.run]
        if others and want.overlap is not Overlap.ALLOW:
            answer = self._overlap(want, row.run.cause, others)
            if answer:
                return answer
        return self._grant(message, worker, lease)

    def _accept(self, want: Wanted) -> None:
        message = want.message
        self.books.put(
            NewRun(
                id=message.run,
                job=message.job,
                tier=want.tier,
                cause=Cause.ENQUEUE,
                scheduled_for=message.scheduled_for,
                lane=message.lane,
                context=message.context,
                metadata=message.metadata,
            )
        )
        self.books.rows[message.run].attempt = message.attempt

    def _grant(self, message: Message, worker: str, lease: timedelta) -> Claim:
        books, id = self.books, message.run
        row = books.rows[id]
        books.token += 1
        row.token, row.cancel, row.unknown_since = books.token, False, None
        attempts = row.run.attempts + 1
        books.change(
            id,
            state=State.RUNNING,
            started_at=books.clock(),
            worker=worker,
            attempts=attempts,
            progress="",
        )
        books.tell(id, "claimed", worker)
        books.leases[id] = books.clock() + lease
        books.active[message.job][id] = None
        books.outbox.pop(id, None)
        books.waiting[message.job].pop(id, None)
        return Claim(
            message=message,
            answer=Answer.RUN,
            token=row.token,
            attempts=attempts,
            failures=row.failures,
        )

    def _disown(self, message: Message, worker: str) -> Claim:
        books, row = self.books, self.books.rows[message.run]
        row.unknown_since = row.unknown_since or books.clock()
        if books.clock() - row.unknown_since >= UNKNOWN:
            books.settle(message.run, Verdict.FAILED, "unknown job")
            return Claim(message=message, answer=Answer.SETTLED, reason="failed: unknown job")
        books.hand_out_again(
            message.run,
            State.PENDING,
            UNKNOWN_WAIT,
            "handed back",
            f"{worker} does not know the job",
        )
        return Claim(message=message, answer=Answer.LATER, reason="unknown job")

    def _overlap(self, want: Wanted, cause: Cause, others: list[str]) -> Claim | None:
        books, message = self.books, want.message
        fire = cause is Cause.SCHEDULE
        if fire and want.overlap is Overlap.SKIP:
            books.settle(message.run, Verdict.SKIPPED, "overlap")
            return Claim(message=message, answer=Answer.SETTLED, reason="skipped: overlap")
        if want.overlap is Overlap.CANCEL_OTHER and not self._cancel(others):
            return None
        if fire and want.catch_up is CatchUp.LATEST:
            self._supersede(message)
        books.outbox.pop(message.run, None)
        books.waiting[message.job][message.run] = None
        books.change(message.run, state=State.PENDING)
        books.tell(message.run, "waits", "another run of the job is active")
        return Claim(message=message, answer=Answer.LATER, reason="overlap")

    def _cancel(self, others: list[str]) -> bool:
        runs = False
        for id in others:
            if self.books.rows[id].run.state is State.RUNNING:
                self.books.rows[id].cancel = runs = True
            else:
                self.books.settle(id, Verdict.CANCELLED, "overlap")
        return runs

    def _supersede(self, message: Message) -> None:
        assert message.scheduled_for
        for id in list(self.books.waiting[message.job]):
            other = self.books.rows[id].run
            if other.cause is Cause.SCHEDULE and other.scheduled_for and other.scheduled_for < message.scheduled_for:
                self.books.settle(id, Verdict.MISSED, "superseded")

    @locked
    def renew(self, claims: Sequence[Claim], lease: timedelta) -> list[Hold]:
        holds = []
        for claim in claims:
            if not self.books.holds(claim):
                holds.append(Hold.LOST)
                continue
            self.books.leases[claim.message.run] = self.books.clock() + lease
            holds.append(Hold.CANCEL if self.books.rows[claim.message.run].cancel else Hold.KEPT)
        return holds

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
        books, id = self.books, settlement.claim.message.run
        if settlement.failure:
            books.change(id, failure=settlement.failure)
        if settlement.verdict:
            fields = {} if settlement.result is None else {"result": settlement.result}
            books.settle(id, settlement.verdict, settlement.reason, **fields)
        elif settlement.retry_after is not None:
            books.rows[id].failures += 1
            books.hand_out_again(
                id,
                State.RETRYING,
                settlement.retry_after,
                "retrying",
                settlement.reason,
            )
        else:
            books.hand_out_again(id, State.PENDING, timedelta(0), "handed back", settlement.reason)

    async def sweep(self, limit: int) -> list[Lapsed]:
        books, found = self.books, []
        with books.lock:
            now = books.clock()
            for id in [id for id, until in books.leases.items() if until <= now][:limit]:
                row = books.rows[id]
                run = row.run
                row.deaths += 1
                verdict = None
                if run.tier is not Tier.ONEIRIC or row.deaths >= DEATHS:
                    verdict = Verdict.FAILED
                    books.settle(id, verdict, "worker died")
                else:
                    books.hand_out_again(id, State.PENDING, timedelta(0), "lease ran out", run.worker)
                found.append(Lapsed(run=id, job=run.job, verdict=verdict, worker=run.worker))
        return found

    async def report(self, claim: Claim, text: str) -> None:
        with self.books.lock:
            if self.books.holds(claim):
                self.books.change(claim.message.run, progress=text)
