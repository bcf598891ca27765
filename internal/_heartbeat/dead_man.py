"""The dead-man's switch: pings to a server elsewhere, which sends an alert when they stop.

The protocol is that of healthchecks.io: URL is a success; URL/start, URL/fail and URL/log are the other kinds. The
server keeps the body with the ping, and `rid` connects a start with its end.
"""

import re
from enum import StrEnum
from urllib.parse import urlsplit, urlunsplit

from internal._heartbeat.processes import trusted

BODY_LIMIT_BYTES = 10_000
REFUSED = re.compile(r"\s*OK \((?P<why>[^)]+)\)\s*")
"""The hosted service answers 200 even to a ping that it ignores. Only the body shows that."""


class Ping(StrEnum):
    START = "start"
    SUCCESS = "success"
    FAIL = "fail"
    LOG = "log"
    """Neither success nor failure: the sidecar is alive, but could not check everything."""


def address(url: str, ping: Ping, rid: str = "") -> str:
    """The URL of a ping. The query of the given URL is kept."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/") + ("" if ping is Ping.SUCCESS else f"/{ping.value}")
    query = "&".join(part for part in (parts.query, f"rid={rid}" if rid else "") if part)
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


async def send(url: str, ping: Ping, body: str, timeout_seconds: float, rid: str = "") -> str:
    """Send a ping. Returns "", or why the server did not accept it. The URL is a secret and never in the result."""
    import httpx

    host = urlsplit(url).hostname
    try:
        async with httpx.AsyncClient(timeout=timeout_seconds, verify=trusted()) as client:
            answer = await client.post(address(url, ping, rid), content=body.encode()[:BODY_LIMIT_BYTES])
    except httpx.TimeoutException:
        return f"{host} did not answer a ping within {timeout_seconds:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return f"{host} does not answer a ping: {type(error).__name__}"
    if not answer.is_success:
        return f"{host} refused a ping with status {answer.status_code}; check jobs.heartbeat.ping_url"
    if refused := REFUSED.fullmatch(answer.text[:200]):
        return f"{host} did not accept a ping: {refused['why']}; check jobs.heartbeat.ping_url"
    return ""


def due(ping: Ping, last: str, seconds_since: float | None, every_seconds: float, least_seconds: float) -> bool:
    """Whether to send a ping: a changed one after `least_seconds`, an equal one after `every_seconds`."""
    if seconds_since is None or seconds_since < 0:  # never, or the clock was set back
        return True
    return seconds_since >= (every_seconds if ping == last else min(every_seconds, least_seconds))
