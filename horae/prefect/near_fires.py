"""Protects the fires of a deployment from a write of the deployment.

At every write Prefect deletes the deployment's future runs, and creates them again up to 5 s later from that time on.
So a write shortly before a fire loses the fire. A write therefore waits until the near fires have passed. A fire that
is still lost is created again with the key that Prefect's scheduler uses, so the second of the two creates nothing.
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
"""Seconds within which a fire is near: twice the period of Prefect's scheduler."""
PATIENCE = timedelta(seconds=30)
"""The longest that a write waits. A deployment that fires every few seconds always has a near fire."""
AFTER = timedelta(seconds=0.5)
"""How long after a fire a write is safe. By then the run is not in the future, even if the clocks differ a little."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """The fires that were due soon before the deployment was written."""

    deployment_id: str
    schedules: Mapping[str, Mapping[str, Any]]
    """The deployment's schedules before the write, by id, as JSON of Prefect's API."""
    fires: tuple[Fire, ...]


def best_moment(now: datetime, fires: Sequence[datetime]) -> datetime:
    """The first instant with no near fire. If there is none within `PATIENCE`, the instant after the last fire."""
    latest = now + PATIENCE
    moments = [now, *(fire + AFTER for fire in sorted(fires) if now < fire + AFTER <= latest)]
    for moment in moments:
        if not any(moment < fire <= moment + NEAR for fire in fires):
            return moment
    return moments[-1]


async def wait_past(prefect: PrefectApi, deployment: Mapping[str, Any]) -> Near:
    """Wait for the best moment to write a deployment (its JSON). Returns the fires that are due soon after it."""
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
    """Create the fires again that a write since `before` deleted, if they are still due. Returns their instants."""
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
    """The active schedule with the same fires as the old one: the old one itself, or its replacement."""
    now = _by_id(deployment)
    same = [one for one in now.values() if one["active"] and (old is None or one["schedule"] == old["schedule"])]
    return next((one for one in same if str(one["id"]) == schedule_id), same[0] if same and old else None)
