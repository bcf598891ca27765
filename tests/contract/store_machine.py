"""A state machine that takes the same steps with two stores, and checks the invariants of both.

Its broker duplicates, reorders and loses messages. Its relays may die after they took messages, or after
they published them and before they told the store.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from horae.jobs.policies import Tier
from horae.messages import Message, Priority
from horae.reasons import Reason
from horae.runs import Cause, Run, State, Verdict
from horae.store import Store
from horae.store.values import Answer, Claim, NewRun, Policy, Settlement, Wanted
from tests.contract.both_stores import ALL, BothStores
from tests.contract.store_plans import AGES, CONTEXTS, DELAYS, ENDINGS, HOUR, POLICIES, SPANS
from tests.contract.stores import LEASE, NONE, PROVIDERS, T0, id_made_at, pruned

ANY = st.integers(0, 1_000_000)
MOSTLY = st.sampled_from([True, True, True, False])


def newest_but[T](pick: int, given: list[T]) -> T:
    """The item that is `pick` places before the newest one."""
    return given[-1 - pick % len(given)]


class StoreMachine(RuleBasedStateMachine):
    def __init__(self, url: str, namespace: str, carried: str) -> None:
        super().__init__()
        self.both = BothStores(url, namespace, carried)
        self.jobs: dict[str, Policy] = {}
        self.runs: list[str] = []
        self.internal: set[str] = set()
        self.untold: list[Message] = []
        self.broker: list[Message] = []
        self.lost: set[tuple[str, int]] = set()
        self.known: set[str] = set()
        """The ids of messages that the broker got before they were due. It discards another message with that id."""
        self.held: list[Claim] = []
        self.notices: list[Any] = []
        self.newest_token = self.steps = 0

    @initialize(policies=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=2))
    def declare(self, policies: list[Policy]) -> None:
        """Durable jobs, and for each an internal job with the same overlap policy and no `concurrency`."""
        self.jobs = {f"job-{place}": policy for place, policy in enumerate(policies)}
        self.jobs |= {f"inner-{place}": replace(one, concurrency=None) for place, one in enumerate(policies)}

    def job_of(self, pick: int, kind: str = "job") -> str:
        return f"{kind}-{pick % (len(self.jobs) // 2)}"

    def any_job(self, pick: int) -> str:
        return sorted(self.jobs)[pick % len(self.jobs)]

    def fresh_id(self) -> str:
        """A UUIDv7. Ids of the same instant do not sort in the order of their creation."""
        self.runs.append(id_made_at(self.both.clock(), len(self.runs) * 37 % 100))
        return self.runs[-1]

    def new_run(self, pick: int, kind: str = "job", **fields: Any) -> NewRun:
        provider = "nats" if pick % 3 == 0 else self.both.carried
        given: dict[str, Any] = {"provider": provider, "pinned": pick % 7 == 0}
        return NewRun(run_id=self.fresh_id(), job=self.job_of(pick, kind), tier=Tier.ONEIRIC, **(given | fields))

    # New runs.

    @rule(
        pick=ANY,
        unique=st.sampled_from(["", "", "k"]),
        delay=st.sampled_from(DELAYS),
        priority=st.sampled_from(Priority),
        context=CONTEXTS,
    )
    def enqueue(self, pick: int, unique: str, delay: timedelta, priority: Priority, context: dict[str, Any]) -> None:
        due = self.both.clock() + delay if delay else None
        run = self.new_run(pick, cause=Cause.ENQUEUE, unique=unique, due=due, priority=priority, context=context)
        self.both.accept(run)

    @rule(pick=ANY, ages=st.lists(st.sampled_from(AGES), min_size=1, max_size=3, unique=True))
    def fall_due(self, pick: int, ages: list[timedelta]) -> None:
        fires = [
            self.new_run(pick, cause=Cause.SCHEDULE, scheduled_for=self.both.clock() - age)
            for age in sorted(ages, reverse=True)
        ]
        self.both.accept(*fires)

    @rule(pick=ANY, unique=st.sampled_from(["", "k"]), attempt=st.sampled_from([1, 1, 3]))
    def come_without_a_row(self, pick: int, unique: str, attempt: int) -> None:
        message = Message(job=self.job_of(pick), run_id=self.fresh_id(), generation=attempt, context={"n": 1})
        self.claim_from([message], unique=unique)

    @rule(pick=ANY, cause=st.sampled_from([Cause.SCHEDULE, Cause.MANUAL, Cause.ENQUEUE]))
    def begin(self, pick: int, cause: Cause) -> None:
        due = self.both.clock() if cause is Cause.SCHEDULE else None
        run = self.new_run(pick, "inner", cause=cause, scheduled_for=due, provider="", pinned=False)
        run = replace(run, tier=Tier.APSCHEDULER)
        self.internal.add(run.run_id)
        overlap = self.jobs[run.job].overlap
        self.hold([self.both(lambda store: store.claims.begin(run, overlap, "s1", LEASE))])

    @rule(
        pick=st.integers(0, 5),
        state=st.sampled_from(State),
        began=st.sampled_from([None, NONE, timedelta(seconds=61)]),
        keep=st.sampled_from([None, None, 2]),
    )
    def record(self, pick: int, state: State, began: timedelta | None, keep: int | None) -> None:
        """Record one of a few runs of another scheduler. Successive records may contradict each other."""
        due = T0 + pick * LEASE
        run = Run(
            run_id=f"flow-{pick}", job="flow", tier=Tier.PREFECT, cause=Cause.SCHEDULE, state=state, scheduled_for=due,
            started_at=None if began is None else due + began, ended_at=due + HOUR if pick % 2 else None,
            reason=Reason.OTHER, note="said", attempts=pick, result={"n": pick} if state is State.RAN else None,
        )  # fmt: skip
        self.both(lambda store: store.ledger.record([run], keep))

    # From the outbox to the broker.

    @rule(limit=st.sampled_from([100, 1]), until=st.sampled_from(["the end", "the end", "published", "taken"]))
    def relay(self, limit: int, until: str) -> None:
        """Relay messages; the relay may die after it took them, or after it published them."""
        if self.both.carried:
            return
        found = self.both(lambda store: store.outbox.take(PROVIDERS, limit, timedelta(seconds=5)))
        messages = [due.message for due in found.entries]
        if until != "taken":
            self.broker += [one for one in messages if one.delivery_id not in self.known]
        if until == "published":
            self.untold += messages
        elif until == "the end":
            self.both(lambda store: store.outbox.published(messages))

    @precondition(lambda self: self.broker)
    @rule(every=st.booleans())
    def lose(self, every: bool) -> None:
        """The broker loses messages; the store finds their runs in its index of queued runs."""
        gone = self.broker if every else self.broker[:1]
        self.lost |= {(one.run_id, one.generation) for one in gone}
        del self.broker[: len(gone)]

    @rule(provider=st.sampled_from(PROVIDERS), age=st.sampled_from([NONE, LEASE]), limit=st.sampled_from([100, 1]))
    def republish(self, provider: str, age: timedelta, limit: int) -> None:
        self.both(lambda store: store.outbox.republish(provider, age, "no worker took it", limit))

    @rule(pick=ANY, everything=st.booleans(), provider=st.sampled_from(["nats", "redis"]), on=st.booleans())
    def move(self, pick: int, everything: bool, provider: str, on: bool) -> None:
        job = None if everything else self.any_job(pick)
        if on:
            self.both(lambda store: store.moves.move(provider, job))
        else:
            self.both(lambda store: store.moves.end(provider, job))

    @rule(provider=st.sampled_from(PROVIDERS))
    def follow(self, provider: str) -> None:
        self.both(lambda store: store.moves.follow(provider))

    @precondition(lambda self: self.untold)
    @rule(pick=ANY)
    def tell_late(self, pick: int) -> None:
        message = self.untold.pop(pick % len(self.untold))
        self.both(lambda store: store.outbox.published([message]))

    # At the worker.

    @precondition(lambda self: self.broker)
    @rule(picks=st.lists(ANY, min_size=1, max_size=3), known=MOSTLY, acknowledged=MOSTLY)
    def deliver(self, picks: list[int], known: bool, acknowledged: bool) -> None:
        """Deliver messages. Those that are not acknowledged stay at the broker, and so do those that are not due."""
        found = [newest_but(pick, self.broker) for pick in picks[: 1 if self.both.carried else None]]
        claims = self.claim_from(found, known=known)
        for message, one in zip(found, claims, strict=True) if acknowledged else []:
            if message in self.broker and one.answer is not Answer.EARLY:
                self.broker.remove(message)

    def claim_from(self, found: list[Message], known: bool = True, unique: str = "") -> list[Claim]:
        wanted = [Wanted(message=one, policy=self.jobs[one.job] if known else None, unique=unique) for one in found]

        async def claimed(store: Store) -> list[Claim]:
            claims = await store.claims.claim(wanted, "w1", LEASE)
            # The run of a copy is pending or queued, depending on whether the store carries the messages.
            return [replace(one, reason="") if one.answer is Answer.DUPLICATE else one for one in claims]

        self.hold(answers := self.both(claimed))
        return answers

    def hold(self, claims: list[Claim]) -> None:
        for one in claims:
            if one.answer is Answer.RUN:
                assert one.token > self.newest_token, "fencing tokens grow"
                self.newest_token = one.token
                self.held.append(one)

    @precondition(lambda self: self.held)
    @rule(pick=ANY, ending=st.sampled_from(ENDINGS))
    def settle(self, pick: int, ending: dict[str, Any]) -> None:
        """Settle a claim; the store must refuse a stale one. An internal run always gets a verdict."""
        one = newest_but(pick, self.held)
        if one.message.run_id in self.internal and "verdict" not in ending:
            ending = ENDINGS[0]
        self.both(lambda store: store.claims.settle([Settlement(claim=one, **ending)]))

    @precondition(lambda self: self.held)
    @rule(picks=st.lists(ANY, min_size=1, max_size=4))
    def renew(self, picks: list[int]) -> None:
        claims = [newest_but(pick, self.held) for pick in picks]

        async def renewed(store: Store) -> list[Any]:
            await store.claims.report(claims[0], f"{picks} done")
            return store.claims.renew(claims, LEASE)

        self.both(renewed)

    @rule(limit=st.sampled_from([100, 1]), after=st.sampled_from([LEASE, NONE]))
    def sweep(self, limit: int, after: timedelta) -> None:
        self.both.clock.move(after)
        self.both(lambda store: store.claims.sweep(limit))

    # Actions of people.

    @precondition(lambda self: self.runs)
    @rule(pick=ANY)
    def cancel(self, pick: int) -> None:
        run = newest_but(pick, self.runs)
        self.both(lambda store: store.claims.cancel(run))

    @rule(pick=ANY, everything=st.booleans(), on=st.booleans())
    def pause(self, pick: int, everything: bool, on: bool) -> None:
        job = None if everything else self.any_job(pick)
        self.both(lambda store: store.pauses.pause(job) if on else store.pauses.resume(job))

    @precondition(lambda self: self.runs)
    @rule(pick=ANY, replayed=st.booleans())
    def take_up_a_letter(self, pick: int, replayed: bool) -> None:
        one = newest_but(pick, self.runs)
        if replayed:
            self.both.accept(self.new_run(pick, cause=Cause.REPLAY, replays=one))
        else:
            self.both(lambda store: store.dead_letters.drop([one]))

    @rule(limit=st.sampled_from([0, 1, 3]))
    def hear_and_prune(self, limit: int) -> None:
        self.both(lambda store: store.notices.put_back(self.notices))
        self.notices = self.both(lambda store: store.notices.take(limit))
        self.both(pruned)

    @rule(span=st.sampled_from(SPANS))
    def pass_time(self, span: timedelta) -> None:
        self.both.clock.move(span)

    # The invariants.

    @precondition(lambda self: self.jobs)
    @invariant()
    def the_law_holds(self) -> None:
        if self.both.carried:
            self.broker += [one for one in self.both.relayed() if one.delivery_id not in self.known]
        self.both.hold(self.jobs, self.lost | {(one.run_id, one.generation) for one in self.broker})
        self.steps += 1
        if self.steps % 8 == 0:
            self.both.hold_whole([*self.jobs, "flow"])

    def teardown(self) -> None:
        try:
            if self.both.agreed and self.jobs:
                self.come_to_rest()
                self.both.hold_whole([*self.jobs, "flow"])
                self.both(lambda store: store.notices.take(ALL))
        finally:
            self.both.close()

    def come_to_rest(self) -> None:
        """Resume all jobs and let every step succeed; then every run must get its verdict."""
        for job in (None, *self.jobs):
            self.both(lambda store, job=job: store.pauses.resume(job))  # type: ignore[misc]
            self.the_law_holds()
        for _ in range(4 * len(self.runs) + 4):
            if not self.both.open_runs():
                return
            self.both.clock.move(HOUR)
            for provider in PROVIDERS:
                self.republish(provider, LEASE, ALL)
            self.sweep(ALL, NONE)
            self.relay(ALL, "the end")
            self.the_law_holds()
            before = len(self.held)
            while self.broker:
                self.deliver([0], True, True)
            for one in self.held[before:]:
                ended = Settlement(claim=one, verdict=Verdict.RAN)
                self.both(lambda store, ended=ended: store.claims.settle([ended]))  # type: ignore[misc]
            self.the_law_holds()
        assert not self.both.open_runs(), "these runs never come to an end"
