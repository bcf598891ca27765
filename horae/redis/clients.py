"""Clients of the primary that holds a namespace, for every kind of address.

All keys of a namespace share a hash tag, and so one slot. In a cluster, the client therefore connects only to the
primary of this slot, and is the same plain client as for a single server. Scripts, pipelines, transactions, blocking
reads and WAIT then work the same everywhere. redis-py's cluster client is not used, for three reasons: it needs a
thread for each command of a transaction; it does not send WAIT on the connection of the write; and while a slot is
moved, it runs a script on a node that has only some of the keys.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.retry import Retry

from horae.redis import blocking, connections
from horae.redis.access import RedisAccess
from horae.redis.address import Kind, RedisAddress, parse
from horae.redis.credentials import Credentials
from horae.redis.directories import directory_of
from horae.redis.keys import SCHEMA
from horae.redis.locator import Locator
from horae.redis.pool import Pool
from horae.redis.replication import configurations, online, replicas

__all__ = ["configurations", "online", "open_blocking_client", "open_client", "replicas"]

CONNECT_SECONDS = 5.0
ASK_SECONDS = 2.0
"""The timeout of a question to one Sentinel or node for the primary. After it, the next one is asked."""
CONNECTIONS = 100
PARTNER = "horae_v"
"""Part of the library name of a connection in CLIENT LIST, followed by the newest schema that its process knows."""


def open_client(
    url: str,
    access: RedisAccess,
    key: str,
    *,
    timeout_seconds: float,
    decode: bool = False,
    retries: int = 1,
    limit: int = CONNECTIONS,
    moved: Callable[[], None] | None = None,
) -> Any:
    """An asyncio client of the primary that holds `key`. It connects at the first use. Raises InvalidSettings.

    `retries`: how often an operation is tried again, each time over a new connection to the current primary, because a
    pooled connection may be from before a restart or a failover. `limit`: the maximum number of connections; a further
    operation waits at most `timeout_seconds` for a free one. `moved` is called when the primary is another one than
    before.
    """
    address = parse(url)
    options = _options(address, access, timeout_seconds, decode, limit) | {"retry": AsyncRetry(NoBackoff(), retries)}
    if address.kind is Kind.SOCKET:
        options |= {"connection_class": connections.SocketConnection, "path": address.path}
    else:
        kind = connections.TlsConnection if address.tls else connections.PlainConnection
        options |= {"connection_class": kind, "locator": _locator(address, access, key, moved)}
    return redis.asyncio.Redis.from_pool(Pool(timeout=timeout_seconds, **options))


def open_blocking_client(
    url: str,
    access: RedisAccess,
    key: str,
    *,
    timeout_seconds: float,
    decode: bool = False,
    retries: int = 1,
    limit: int = CONNECTIONS,
    moved: Callable[[], None] | None = None,
) -> Any:
    """The same for threads. `moved` is called in the thread that finds the new primary."""
    address = parse(url)
    options = _options(address, access, timeout_seconds, decode, limit) | {"retry": Retry(NoBackoff(), retries)}
    if address.kind is Kind.SOCKET:
        options |= {"connection_class": redis.UnixDomainSocketConnection, "path": address.path}
    else:
        kind = blocking.TlsConnection if address.tls else blocking.PlainConnection
        options |= {"connection_class": kind, "locator": _locator(address, access, key, moved)}
    return redis.Redis.from_pool(redis.BlockingConnectionPool(timeout=timeout_seconds, **options))  # type: ignore[no-untyped-call]


def _options(
    address: RedisAddress, access: RedisAccess, timeout_seconds: float, decode: bool, limit: int
) -> dict[str, Any]:
    options: dict[str, Any] = {
        "db": address.database,
        "decode_responses": decode,
        "encoding_errors": "replace",  # other programs may write text that is not UTF-8; show it anyway
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": CONNECT_SECONDS,
        "max_connections": limit,
        "driver_info": DriverInfo().add_upstream_driver("horae", str(SCHEMA)),
        **_tls(address, access),
    }
    password = access.password or (SecretStr(address.password) if address.password else None)
    return options | _credentials(access.username or address.username, password, access.password_file)


def _credentials(username: str | None, password: SecretStr | None, file: Path | None) -> dict[str, Any]:
    if not (username or password or file):
        return {}
    return {"credential_provider": Credentials(username, password.get_secret_value() if password else "", file)}


def _locator(address: RedisAddress, access: RedisAccess, key: str, moved: Callable[[], None] | None) -> Locator:
    asking = _options(address, access, ASK_SECONDS, True, 1)
    asking |= {"socket_connect_timeout": ASK_SECONDS, "db": 0, "ssl": address.tls}
    if address.kind is Kind.SENTINEL:  # Sentinels have their own users
        asking.pop("credential_provider", None)
        asking |= _credentials(access.sentinel_username, access.sentinel_password, access.sentinel_password_file)
    return Locator(directory_of(address, key), asking, moved)


def _tls(address: RedisAddress, access: RedisAccess) -> dict[str, Any]:
    if not address.tls:
        return {}
    files = {
        "ssl_ca_certs": access.tls_ca_file,
        "ssl_certfile": access.tls_cert_file,
        "ssl_keyfile": access.tls_key_file,
    }
    return {name: str(path) for name, path in files.items() if path} | {"ssl_check_hostname": access.tls_check_hostname}
