"""The fires of a deployment that a write of it would lose, and how they are kept.

Prefect deletes a deployment's future runs at every write and makes them again up to 5 s later, from that moment on: a
write shortly before a fire loses the fire. So a write waits until a near fire has come. What it lost all the same is
made again under the key that Prefect's scheduler itself would use: whichever of the two comes second does nothing.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from horae import clock
from horae.prefect.api import PrefectApi
from horae.prefect.values import Fire

NEAR = timedelta(seconds=10)
"""A fire within this time is near: twice the period of Prefect's scheduler."""
PATIENCE = timedelta(seconds=30)
"""The longest that a write waits: a deployment that fires every few seconds always has a near fire."""
AFTER = timedelta(seconds=0.5)
"""How long after a fire a write is safe: the run is no future one by then, on a clock that is nearly ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """What was to fire soon when the deployment was about to be written."""

    deployment_id: str
    schedules: Mapping[str, Mapping[str, Any]]
    """The deployment's schedules of then, by id, as Prefect's API gives them."""
    fires: tuple[Fire, ...]


def best_moment(now: datetime, fires: Sequence[datetime]) -> datetime:
    """The first instant from which no fire is near; if there is none within `PATIENCE`, that after the last fire."""
    latest = now + PATIENCE
    moments = [now, *(fire + AFTER for fire in sorted(fires) if now < fire + AFTER <= latest)]
    for moment in moments:
        if not any(moment < fire <= moment + NEAR for fire in fires):
            return moment
    return moments[-1]


async def wait_past(prefect: PrefectApi, deployment: Mapping[str, Any]) -> Near:
    """Wait for the best moment to write a deployment (its JSON); what is near then and after."""
    id = str(deployment["id"])
    until = clock.now() + PATIENCE + NEAR
    fires = await prefect.coming_fires(id, until)
    moment = best_moment(clock.now(), [fire.at for fire in fires])
    wait = (moment - clock.now()).total_seconds()
    if wait > 0:
        await asyncio.sleep(wait)
        fires = await prefect.coming_fires(id, clock.now() + NEAR)
    near = tuple(fire for fire in fires if fire.at <= clock.now() + NEAR)
    return Near(deployment_id=id, schedules=_by_id(deployment), fires=near)


async def make_again(prefect: PrefectApi, before: Near) -> list[datetime]:
    """Make the fires again that a write since then has deleted, if they are still due; returns their instants."""
    if not before.fires:
        return []
    found = await prefect.deployment_json(before.deployment_id)
    if found is None or found.get("paused"):
        return []
    there = {run.id for run in await prefect.flow_runs_by_id([fire.run_id for fire in before.fires])}
    made: list[datetime] = []
    for fire in before.fires:
        schedule = _still_there(before.schedules.get(fire.schedule_id), found, fire.schedule_id)
        if fire.run_id in there or schedule is None:
            continue
        key = fire.key.replace(fire.schedule_id, str(schedule["id"]))
        await prefect.create_flow_run(
            before.deployment_id,
            schedule.get("parameters") or {},
            idempotency_key=key,
            tags=["auto-scheduled"],
            scheduled_for=fire.at,
        )
        made.append(fire.at)
    return made


def _by_id(deployment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {str(schedule["id"]): schedule for schedule in deployment.get("schedules") or ()}


def _still_there(
    old: Mapping[str, Any] | None, deployment: Mapping[str, Any], schedule_id: str
) -> Mapping[str, Any] | None:
    """The active schedule that fires at the same instants as the old one: itself, or one that took its place."""
    now = _by_id(deployment)
    same = [one for one in now.values() if one["active"] and (old is None or one["schedule"] == old["schedule"])]
    return next((one for one in same if str(one["id"]) == schedule_id), same[0] if same and old else None)
