"""`begin` accepts and claims a run in one step, without a broker, for a run that the caller runs itself."""

from horae.jobs.policies import Overlap, Tier
from horae.reasons import Reason
from horae.runs import Cause, Failure, State, Verdict
from horae.store import Store
from horae.store.values import Answer, NewRun, Settlement, Stop
from tests.contract.stores import (
    LEASE,
    T0,
    new,
    next_in,
)


class TestBegin:
    def run(self, cause: Cause = Cause.SCHEDULE) -> NewRun:
        return new("beat", tier=Tier.APSCHEDULER, cause=cause, scheduled_for=T0 if cause is Cause.SCHEDULE else None)

    async def test_what_runs_here_does_not_wait_for_another(self, store: Store) -> None:
        await store.claims.begin(self.run(Cause.MANUAL), Overlap.SKIP, "s1", LEASE)
        for overlap in (Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL_OTHER):
            for cause in (Cause.SCHEDULE, Cause.MANUAL):
                answer = await store.claims.begin(self.run(cause), overlap, "s1", LEASE)
                assert (answer.answer, answer.reason) == (Answer.SETTLED, "skipped: overlap")

    async def test_cancel_other_asks_the_other_to_end(self, store: Store) -> None:
        held = await store.claims.begin(self.run(), Overlap.CANCEL_OTHER, "s1", LEASE)
        await store.claims.begin(self.run(Cause.MANUAL), Overlap.CANCEL_OTHER, "s1", LEASE)
        assert store.claims.renew([held], LEASE) == [Stop.OVERLAP]

    async def test_allow_runs_both(self, store: Store) -> None:
        causes = (Cause.SCHEDULE, Cause.MANUAL)
        answers = [(await store.claims.begin(self.run(cause), Overlap.ALLOW, "s1", LEASE)).answer for cause in causes]
        assert answers == [Answer.RUN, Answer.RUN]

    async def test_begin_gives_a_fire_to_one_sidecar(self, store: Store) -> None:
        run = new(tier=Tier.APSCHEDULER, cause=Cause.SCHEDULE)
        answers = [(await store.claims.begin(run, Overlap.SKIP, name, LEASE)).answer for name in ("s1", "s2")]
        assert answers == [Answer.RUN, Answer.DUPLICATE]
        assert await next_in(store) is None

    async def test_what_waits_writes_nothing_until_the_job_is_free(self, store: Store) -> None:
        held = await store.claims.begin(self.run(), Overlap.SKIP, "s1", LEASE)
        asked = self.run(Cause.MANUAL)
        for overlap in (Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL_OTHER):
            answer = await store.claims.begin(asked, overlap, "cli", LEASE, waits=True)
            assert (answer.answer, answer.reason) == (Answer.LATER, "overlap")
        assert await store.ledger.run(asked.run_id) is None
        assert store.claims.renew([held], LEASE) == [Stop.OVERLAP], "cancel_other asks the other to end"
        await store.claims.settle([Settlement(claim=held, verdict=Verdict.CANCELLED, reason=Reason.OVERLAP)])
        answer = await store.claims.begin(asked, Overlap.SKIP, "cli", LEASE, waits=True)
        assert answer.answer is Answer.RUN

    async def test_what_waits_heeds_concurrency(self, store: Store) -> None:
        answers = [
            await store.claims.begin(self.run(Cause.MANUAL), Overlap.ALLOW, "cli", LEASE, concurrency=2, waits=True)
            for _ in range(3)
        ]
        assert [answer.answer for answer in answers] == [Answer.RUN, Answer.RUN, Answer.LATER]

    async def test_who_holds_a_run_tries_it_again(self, store: Store) -> None:
        run = new("backup", cause=Cause.MANUAL)
        held = await store.claims.begin(run, Overlap.SKIP, "cli", LEASE)
        failure = Failure(type="OSError", message="no")
        ended = Settlement(claim=held, retry_after=LEASE, reason=Reason.RAISED, note="no", failure=failure)
        assert await store.claims.again(ended)
        found = await store.ledger.run(run.run_id)
        assert found
        assert (found.state, found.attempts, found.failure) == (State.RUNNING, 2, failure)
        assert [(event.what, event.note) for event in found.story][-1] == ("retrying", "raised: no")
        assert await next_in(store) is None, "no worker gets it"
        assert store.claims.renew([held], LEASE) == [None]
        assert await store.claims.settle([Settlement(claim=held, verdict=Verdict.RAN)]) == [True]
        assert not await store.claims.again(ended)
