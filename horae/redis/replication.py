"""Questions to the servers of a client about their replicas and their configuration."""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from horae.redis.address import place


async def replicas(client: Any) -> int:
    """How many replicas are connected to the primary and in sync, so that WAIT can reach them."""
    return online(await client.info("replication"))


def online(said: Mapping[str, Any]) -> int:
    """The same, from the answer of INFO replication."""
    attached = (value for name, value in said.items() if name.startswith("slave") and isinstance(value, dict))
    return sum(value.get("state") == "online" for value in attached)


async def configurations(client: Any, *names: str) -> dict[str, dict[str, str]]:
    """These settings of each primary that the client may connect to, by place.

    In a cluster these are all primaries, because slots move. If a server refuses CONFIG GET, its value is {}, so the
    safety check skips it; its operator is then responsible.
    """
    locator = client.connection_pool.connection_kwargs.get("locator")
    if locator is None:
        return {"its socket": await _configuration(client, names)}
    found = {}
    first, *others = await locator.primaries()
    found[place(*first)] = await _configuration(client, names)
    for one in others:
        async with locator.client(one) as other:
            found[place(*one)] = await _configuration(other, names)
    return found


async def _configuration(client: Any, names: tuple[str, ...]) -> dict[str, str]:
    try:
        return {str(name): str(value) for name, value in (await client.config_get(*names)).items()}
    except ResponseError:
        return {}
