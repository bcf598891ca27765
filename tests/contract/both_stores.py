"""Two stores that get the same steps with the same clock, and the invariants that both must keep."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

from horae.jobs.policies import Tier
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Run, State, Verdict
from horae.settings import StoreSettings
from horae.store import Store
from horae.store.redis import RedisStore
from horae.store.values import Accepted, NewRun, Policy
from tests.contract.server_law import ServerLaw
from tests.contract.stores import (
    NONE,
    PROVIDERS,
    Clock,
    steered_store,
)
from tests.model import ModelStore

ALL = 1000


class BothStores:
    """`carried`: the server carries the provider's messages itself; for the model, a relay runs after every step."""

    def __init__(self, url: str, namespace: str, carried: str) -> None:
        self.loop, self.clock, self.carried = asyncio.new_event_loop(), Clock(), carried
        settings = StoreSettings(keep_runs_per_job=10)
        self.model: ModelStore = ModelStore(namespace, self.clock, settings)
        self.server: RedisStore = steered_store(url, namespace, settings, self.clock, carried)
        self._law = ServerLaw(url, namespace)
        self._verdicts: dict[str, tuple[Verdict, Reason | None]] = {}
        self.agreed = True
        """False after the two stores gave different answers."""

    def wait[R](self, step: Awaitable[R]) -> R:
        return self.loop.run_until_complete(_coroutine(step))

    def __call__[R](self, step: Callable[[Store], Awaitable[R]]) -> R:
        """Take the step with both stores, check that the answers are equal, and return the answer."""
        self.agreed = False
        expected, found = self.wait(step(self.model)), self.wait(step(self.server))
        assert expected == found, _difference(expected, found)
        self.agreed = True
        return found

    def accept(self, *runs: NewRun) -> list[Accepted]:
        async def accepted(store: Store) -> list[Accepted]:
            return [replace(one, published=False) for one in await store.outbox.accept(runs)]

        return self(accepted)

    def relayed(self) -> list[Message]:
        """Relay all due messages of both stores, check that they are equal, and return them."""
        mine = [due.message for due in self.wait(self.model.outbox.take(PROVIDERS, ALL, NONE)).entries]
        left = [due.message for due in self.wait(self.server.outbox.take(PROVIDERS, ALL, NONE)).entries]
        self.wait(self.model.outbox.published(mine))
        self.wait(self.server.outbox.published(left))
        sent = [*self.wait(self._law.published()), *left]
        assert sorted(map(repr, mine)) == sorted(map(repr, sent))
        return mine

    def hold(self, jobs: dict[str, Policy], sent: set[tuple[str, int]]) -> None:
        """Check that both stores keep the invariants and are equal.

        `sent`: run_id and generation of each message that is at the broker, or that it has lost.
        """
        runs = self(lambda store: store.ledger.runs(limit=ALL))
        self(self._next_in)
        # Runs of another scheduler may be dropped and recorded again.
        ours = [run for run in runs if run.tier is not Tier.PREFECT]
        for run in ours:
            if run.verdict:
                assert self._verdicts.setdefault(run.run_id, (run.verdict, run.reason)) == (run.verdict, run.reason)
        for job, policy in jobs.items():
            running = sum(run.job == job and run.state is State.RUNNING for run in runs)
            assert not policy.most or running <= policy.most, f"{running} runs of {job} at once"
        self.wait(self._law.holds(ours, sent))

    @staticmethod
    async def _next_in(store: Store) -> Any:
        return (await store.outbox.take(PROVIDERS, 0, NONE)).next_in

    def hold_whole(self, jobs: Iterable[str]) -> None:
        """Check that the other readable state is equal too."""
        for job in jobs:
            self(lambda store, job=job: store.ledger.runs(job=job, limit=ALL))  # type: ignore[misc]
        self(lambda store: store.ledger.latest(jobs))
        self(lambda store: store.dead_letters.newest(ALL))
        self(lambda store: store.dead_letters.ids())
        self(lambda store: store.pauses.paused())
        self(lambda store: store.moves.all())
        self(lambda store: store.outbox.by_provider())
        self(lambda store: store.ledger.figures())

    def open_runs(self) -> list[Run]:
        runs = self(lambda store: store.ledger.runs(limit=ALL))
        return [run for run in runs if run.verdict is None and run.tier is not Tier.PREFECT]

    def close(self) -> None:
        self.wait(self.server.close())
        self.wait(self._law.close())
        self.loop.close()


def _difference(expected: Any, found: Any) -> str:
    """The first difference, as text."""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return next(_difference(one, other) for one, other in zip(expected, found, strict=True) if one != other)
    return f"\nmodel says: {expected}\nserver says: {found}"


async def _coroutine[R](step: Awaitable[R]) -> R:
    return await step
