"""Catch-up at the claim: a fire that was never begun may have waited too long at the broker."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from horae.jobs.policies import CatchUp, Overlap
from horae.messages import Message
from horae.reasons import Reason
from horae.runs import Verdict
from horae.store import Store
from horae.store.values import Answer, Claim
from tests.contract.stores import (
    MILLI,
    NONE,
    PROVIDERS,
    T0,
    Clock,
    claim,
    fire,
    fire_at,
    handed_out,
    new,
    send,
    settle,
    verdict_of,
)

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def judged(store: Store, message: Message, catch_up: CatchUp, window: timedelta = HOUR) -> Claim:
    return await claim(store, message, catch_up=catch_up, catch_up_window=window)


@pytest.mark.parametrize("catch_up", list(CatchUp))
async def test_older_than_the_window_is_too_late(steered: Store, clock: Clock, catch_up: CatchUp) -> None:
    at_its_end, beyond = await send(steered, fire(0), fire(0, job="report"))
    window = MINUTE / 2
    clock.move(window)
    assert (await judged(steered, at_its_end, catch_up, window)).answer is Answer.RUN
    clock.move(MILLI)
    answer = await judged(steered, beyond, catch_up, window)
    assert (answer.answer, answer.reason) == (Answer.SETTLED, "missed: too late")
    assert await verdict_of(steered, beyond.run_id) == (Verdict.MISSED, "too late")


async def test_none_runs_what_is_a_minute_late_and_nothing_later(steered: Store, clock: Clock) -> None:
    in_time, late = await send(steered, fire(0), fire(0, job="report"))
    clock.move(MINUTE)
    assert (await judged(steered, in_time, CatchUp.NONE)).answer is Answer.RUN
    clock.move(MILLI)
    assert (await judged(steered, late, CatchUp.NONE)).reason == "missed: not caught up"


async def test_latest_gives_way_to_a_newer_fire_after_a_minute(steered: Store, clock: Clock) -> None:
    old, newer = await send(steered, fire(0), fire(1))
    clock.move(MINUTE)
    assert (await judged(steered, old, CatchUp.LATEST)).answer is Answer.RUN, "it is a minute late and no more"
    clock.move(MINUTE + MILLI)
    assert (await judged(steered, newer, CatchUp.LATEST)).answer is Answer.RUN, "there is no newer one"
    older, newest = await send(steered, fire(0, job="report"), fire(1, job="report"))
    assert (await judged(steered, older, CatchUp.LATEST)).reason == "missed: superseded"
    assert (await judged(steered, newest, CatchUp.LATEST)).answer is Answer.RUN


async def test_all_runs_every_fire(steered: Store, clock: Clock) -> None:
    messages = await send(steered, fire(0), fire(1), fire(2))
    clock.move(HOUR)
    assert {(await judged(steered, one, CatchUp.ALL)).answer for one in messages} == {Answer.RUN}


async def test_of_a_backlog_the_newest_runs(steered: Store, clock: Clock) -> None:
    messages = await send(steered, *(fire(minute) for minute in range(10)))
    clock.move(30 * MINUTE)
    answers = [(await judged(steered, one, CatchUp.LATEST)).answer for one in messages]
    assert answers == [Answer.SETTLED] * 9 + [Answer.RUN]


async def test_a_job_whose_claims_are_always_late_is_not_starved(steered: Store, clock: Clock) -> None:
    """Each message takes five minutes to reach its worker, and newer fires are due meanwhile."""
    under_way: list[Message] = []
    ran = []
    for minute in range(60):
        under_way += await send(steered, fire(minute))
        if minute >= 5:
            message = under_way.pop(0)
            answer = await judged(steered, message, CatchUp.LATEST)
            if answer.answer is Answer.RUN:
                ran.append(minute - 5)
                await settle(steered, answer)
        clock.move(MINUTE)
    gaps = {later - earlier for earlier, later in pairwise(ran)}
    assert len(ran) >= 8, "the one for whose sake older ones gave way does run"
    assert max(gaps) <= 6


async def test_what_was_begun_is_never_missed(steered: Store, clock: Clock) -> None:
    first, _ = await send(steered, fire(0), fire(1))
    await settle(steered, await claim(steered, first), None, reason=Reason.DRAINING)
    clock.move(2 * HOUR)
    [again] = await handed_out(steered)
    assert (await judged(steered, again, CatchUp.NONE)).answer is Answer.RUN


async def test_only_fires_are_judged(steered: Store, clock: Clock) -> None:
    [message] = await send(steered, new(scheduled_for=T0))
    clock.move(2 * HOUR)
    assert (await judged(steered, message, CatchUp.NONE)).answer is Answer.RUN


async def test_a_job_unknown_here_is_not_judged_here(steered: Store, clock: Clock) -> None:
    [message] = await send(steered, fire(0))
    clock.move(2 * HOUR)
    assert (await claim(steered, message, known=False)).reason == "unknown job"


async def test_a_late_fire_asks_no_other_run_to_end(steered: Store, clock: Clock) -> None:
    running, late = await send(steered, new(), fire_at(T0))
    held = await claim(steered, running, overlap=Overlap.CANCEL_OTHER)
    clock.move(2 * MINUTE)
    policy: dict[str, Any] = {"overlap": Overlap.CANCEL_OTHER, "catch_up": CatchUp.NONE}
    assert (await claim(steered, late, **policy)).answer is Answer.SETTLED
    assert steered.claims.renew([held], HOUR) == [None]
    assert (await steered.outbox.take(PROVIDERS, 10, NONE)).entries == []
