"""What the servers behind a client say about how safe it is with them."""

from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from horae.redis.address import place


async def replicas(client: Any) -> int:
    """How many replicas follow the primary and are up to date with its stream: how many a WAIT can hope for."""
    return online(await client.info("replication"))


def online(said: Mapping[str, Any]) -> int:
    """The same, from what INFO says of replication."""
    attached = (value for name, value in said.items() if name.startswith("slave") and isinstance(value, dict))
    return sum(value.get("state") == "online" for value in attached)


async def configurations(client: Any, *names: str) -> dict[str, dict[str, str]]:
    """These settings of each primary that the client could come to speak to, by its place.

    Of a cluster, all: slots move. One that hides its configuration says nothing; its operator answers for it.
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
