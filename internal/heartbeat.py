"""Checks every 10 seconds whether each process is alive and makes progress, and pings the dead-man's switch.

Inside the sidecar because it is frequent and small, and because the pings must stop when the sidecar does. Each sidecar
has its own view, and needs no store for it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from horae import Settings, clock, current_run, every, job
from horae.errors import HoraeError
from horae.settings import load
from internal._heartbeat.dead_man import Ping, due, send
from internal._heartbeat.processes import Beat, look, watched
from internal._heartbeat.settings import HeartbeatSettings
from internal._heartbeat.watch import Change, State, absent, judge, read_state, write_state

log = logging.getLogger(__name__)
STATE = "heartbeat.json"
LEAST_SECONDS = 15.0
"""The least time between two pings: the hosted service refuses more than five a minute."""


@job(schedule=every("10s"), scope="each", time_limit=timedelta(seconds=5), settings=HeartbeatSettings)
async def heartbeat(*, dry_run: bool = False) -> dict[str, Any]:
    """Check every process, report once each that falls silent or comes back, and ping the dead-man's switch.

    Returns {"ok", "checks": [{"name", "ok", "detail", "figures"}], "unseen", "ping"}. `ok` is None when there was no
    process to check. `dry_run` checks and says what would be pinged; it writes, reports and pings nothing.
    """
    run = current_run()
    settings, own = load(run.project), run.settings or HeartbeatSettings()
    processes = watched(settings, own, in_sidecar=run.scheduled_for is not None)
    beats = await look(settings, own, processes)
    path, now, patience = settings.state / STATE, clock.now(), timedelta(seconds=own.silent_after_seconds)
    before, unread = read_state(path)
    after, changes = judge(before, beats, now, patience)
    silent = [beat for beat in beats if after.processes[beat.name].silent]
    in_doubt = [beat for beat in beats if not beat.alive and beat not in silent]
    unseen = [unread] if unread else []
    if not beats:
        unseen.append("no process was checked: none is configured, and no `horae up` is running here")
    unseen += [f"uncertain: {beat.name} {beat.detail}" for beat in in_doubt]
    for change in changes:
        _say(change)
    ping = Ping.FAIL if silent else Ping.LOG if in_doubt or not beats else Ping.SUCCESS
    if not dry_run:
        news = News(ping=ping, body=_summary(unseen, silent, beats), begins=absent(before, now, patience))
        after, troubles = await _tell(settings, own, after, news, now)
        try:
            write_state(path, after)
        except OSError as error:
            troubles.append(f"cannot write {path}: {error.strerror}; the next run may report the same change again")
        unseen = troubles + unseen
    run.report(_summary(unseen, silent, beats) + (f"; dry run, would ping {ping.value}" if dry_run else ""))
    return _result(beats, after, unseen, ping, now)


def _say(change: Change) -> None:
    if change.silent:
        extra = {"action": "process_silent", "watched": change.name}
        log.error("%s has been silent since %s: %s", change.name, change.since, change.detail, extra=extra)
    else:
        log.warning("%s is alive again", change.name, extra={"action": "process_alive", "watched": change.name})


@dataclass(frozen=True, kw_only=True, slots=True)
class News:
    """What the dead-man's switch is told."""

    ping: Ping
    body: str
    begins: bool
    """The sidecar starts after a longer absence: ping a start first."""


async def _tell(
    settings: Settings, own: HeartbeatSettings, state: State, news: News, now: datetime
) -> tuple[State, list[str]]:
    """Send events to Prefect and pings to the dead-man's switch. Return the new state, and what was not accepted."""
    import asyncio

    elapsed = (now - clock.parse_instant(state.pinged_at)).total_seconds() if state.pinged_at else None
    pings = own.ping_url and due(news.ping, state.pinged, elapsed, own.ping_every_seconds, LEAST_SECONDS)
    told, pinged = await asyncio.gather(
        _emit(settings, own, state.untold),
        _ping(own, news) if pings else _nothing(),
    )
    if not told:
        state = replace(state, untold=())
    if pings and not pinged:
        state = replace(state, pinged=news.ping.value, pinged_at=clock.isoformat(now))
    return state, [trouble for trouble in (told, pinged) if trouble]


async def _nothing() -> str:
    return ""


async def _ping(own: HeartbeatSettings, news: News) -> str:
    import socket
    from uuid import uuid4

    assert own.ping_url
    url, rid = own.ping_url.get_secret_value(), str(uuid4()) if news.begins else ""
    if news.begins:
        trouble = await send(url, Ping.START, f"heartbeat starts on {socket.gethostname()}", own.timeout_seconds, rid)
        if trouble:
            return trouble
    return await send(url, news.ping, news.body, own.timeout_seconds, rid)


async def _emit(settings: Settings, own: HeartbeatSettings, changes: Sequence[Change]) -> str:
    """Return why Prefect did not accept the events; empty if it did, or if no Prefect is configured."""
    if not changes or settings.prefect.api_url is None:
        return ""
    import asyncio
    import socket

    from horae.prefect.flow_runs import prefect_of

    observer = socket.gethostname()
    try:
        async with asyncio.timeout(own.timeout_seconds):
            async with prefect_of(settings) as api:
                await api.emit_events([change.event(settings.namespace, observer) for change in changes])
    except TimeoutError:
        return f"{len(changes)} events wait for Prefect: no answer in {own.timeout_seconds:g} s"
    except HoraeError as error:
        return f"{len(changes)} events wait for Prefect: {error.message}"
    return ""


def _summary(unseen: Sequence[str], silent: Sequence[Beat], beats: Sequence[Beat]) -> str:
    """What could not be checked comes first, then the silent processes, then how many are alive."""
    alive = sum(beat.alive for beat in beats)
    said = [*unseen, *(f"{beat.name} is silent: {beat.detail}" for beat in silent)]
    return "; ".join([*said, f"{alive} of {len(beats)} processes are alive"] if beats else said)


def _result(beats: Sequence[Beat], state: State, unseen: Sequence[str], ping: Ping, now: datetime) -> dict[str, Any]:
    checks = []
    for beat in beats:
        seen = state.processes[beat.name]
        ago = max(0.0, (now - clock.parse_instant(seen.since)).total_seconds())
        checks.append(
            {
                "name": f"heartbeat/{beat.name}",
                "ok": not seen.silent,
                "detail": beat.detail,
                "figures": {"last_seen_seconds": 0.0 if beat.alive else round(ago, 1)},
            }
        )
    ok = all(check["ok"] for check in checks) if checks else None
    return {"ok": ok, "checks": checks, "unseen": list(unseen), "ping": ping.value}
