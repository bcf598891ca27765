"""Checks whether each watched process is alive and its duties make progress."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from horae import Settings
from horae.errors import HoraeError
from horae.local.endpoints import read
from internal._heartbeat.settings import HeartbeatSettings

if TYPE_CHECKING:
    import ssl

    import httpx

LOOPBACK = "127.0.0.1"
EVERYWHERE = ("0.0.0.0", "::", "")  # addresses to listen on, not to ask


@dataclass(frozen=True, kw_only=True, slots=True)
class Beat:
    """The result of one check of one process."""

    name: str
    alive: bool
    detail: str
    """The state of the process, or why there is no proof that it is alive."""


def watched(settings: Settings, own: HeartbeatSettings, *, in_sidecar: bool) -> dict[str, str]:
    """The base URL of each process to watch, by name.

    `in_sidecar`: a sidecar fired this run, so the sidecar itself is one of them, unless its port is not known.
    """
    found: dict[str, str] = {}
    running = read(settings.state)
    if in_sidecar and settings.sidecar.health_port:
        host = settings.sidecar.health_host
        found["sidecar"] = f"http://{LOOPBACK if host in EVERYWHERE else host}:{settings.sidecar.health_port}"
    if running and running.sidecar_url:
        found["sidecar"] = running.sidecar_url
    if running and running.worker_url:
        found["queue-worker"] = running.worker_url
    return found | own.processes


async def look(settings: Settings, own: HeartbeatSettings, processes: Mapping[str, str]) -> list[Beat]:
    """Check every process and the Prefect workers once, concurrently. Failures are results and are not raised."""
    import asyncio

    import httpx

    async with httpx.AsyncClient(timeout=own.timeout_seconds, verify=trusted()) as client:
        looks = [look_at(client, name, url) for name, url in processes.items()]
        *beats, workers = await asyncio.gather(*looks, look_at_workers(settings, own))
    return [beat for beat in (*beats, workers) if beat]


async def look_at(client: "httpx.AsyncClient", name: str, url: str) -> Beat:
    """Check one process. It is alive if its /health/live answers that no duty is stalled."""
    import httpx

    try:
        answer = await client.get(f"{url.rstrip('/')}/health/live")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Beat(name=name, alive=False, detail=f"does not answer: {str(error) or type(error).__name__}")
    try:
        said = answer.json()
        live, stalled = bool(said["live"]), [str(duty) for duty in said["stalled"]]
    except (ValueError, KeyError, TypeError):
        detail = (
            f"answers {answer.status_code}, which is not the answer of a Horae process; is the URL the base of "
            "its /health?"
        )
        return Beat(name=name, alive=False, detail=detail)
    if not live:
        return Beat(name=name, alive=False, detail=f"answers, but these duties are stalled: {', '.join(stalled)}")
    return Beat(name=name, alive=True, detail="answers, and its duties make progress")


async def look_at_workers(settings: Settings, own: HeartbeatSettings) -> Beat | None:
    """Ask Prefect whether enough of its workers are online. None: no workers are configured here."""
    if settings.prefect.api_url is None or own.prefect_workers == 0:
        return None
    import asyncio

    from horae.prefect.flow_runs import prefect_of

    pool = settings.prefect.work_pool
    try:
        async with asyncio.timeout(own.timeout_seconds):
            async with prefect_of(settings) as api:
                online = await api.online_workers(pool)
    except TimeoutError:
        return Beat(
            name="prefect-worker", alive=False, detail=f"Prefect did not answer within {own.timeout_seconds:g} s"
        )
    except HoraeError as error:
        return Beat(name="prefect-worker", alive=False, detail=f"Prefect does not answer: {error.message}")
    if online is None:
        return Beat(name="prefect-worker", alive=False, detail=f"Prefect has no work pool {pool!r}")
    enough = len(online) >= own.prefect_workers
    detail = f"{len(online)} of {own.prefect_workers} online in the work pool {pool!r}"
    return Beat(name="prefect-worker", alive=enough, detail=detail)


@lru_cache(maxsize=1)
def trusted() -> "ssl.SSLContext":
    """The TLS context, made once, because reading the certificates takes longer than a check."""
    import ssl

    return ssl.create_default_context()
