"""Addresses of Redis or Valkey: one server, a unix socket, a service that Sentinel watches, a cluster.

No text from this module contains a password: neither an address, nor an error about an address that cannot be read.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn
from urllib.parse import parse_qsl, unquote

from horae.errors import InvalidSettings, unknown

PORT = 6379
SENTINEL_PORT = 26379
SOCKET_BYTES = 107
"""The maximum length of the path of a unix socket. The kernel allows 108 bytes, and the last one is a null byte."""
HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")
ENCODE = "write / as %2F, @ as %40, : as %3A, ? as %3F and # as %23, or give it in a separate setting"


class Kind(StrEnum):
    SERVER = "server"
    SOCKET = "socket"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


SCHEMES = {
    "redis": (Kind.SERVER, False),
    "rediss": (Kind.SERVER, True),
    "unix": (Kind.SOCKET, False),
    "redis+sentinel": (Kind.SENTINEL, False),
    "rediss+sentinel": (Kind.SENTINEL, True),
    "redis+cluster": (Kind.CLUSTER, False),
    "rediss+cluster": (Kind.CLUSTER, True),
}
"""The schemes of addresses: the kind of server, and whether the connection uses TLS."""
FORMS = {
    Kind.SERVER: "redis://HOST:6379/0",
    Kind.SOCKET: "unix:///PATH?db=0",
    Kind.SENTINEL: "redis+sentinel://HOST:26379,HOST:26379/SERVICE/0",
    Kind.CLUSTER: "redis+cluster://HOST:6379,HOST:6379",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RedisAddress:
    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    """The host and port of the server, of the Sentinels, or of some nodes of the cluster."""
    path: str = ""
    """The path of the socket."""
    service: str = ""
    """The name of the primary at the Sentinels."""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def kind(self) -> Kind:
        return SCHEMES[self.scheme][0]

    @property
    def tls(self) -> bool:
        return SCHEMES[self.scheme][1]

    def __str__(self) -> str:
        """The address without user and password, for messages and logs."""
        hosts = ",".join(place(host, port) for host, port in self.hosts)
        tail = f"/{self.service}" if self.service else ""
        if self.kind is Kind.SOCKET:
            return f"unix://{self.path}" + (f"?db={self.database}" if self.database else "")
        return f"{self.scheme}://{hosts}{tail}" + ("" if self.kind is Kind.CLUSTER else f"/{self.database}")


def place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(url: str) -> RedisAddress:
    """Read an address. Raises InvalidSettings, which says what is wrong and shows the right form."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        raise InvalidSettings(f"a Redis address must begin with one of {_schemes()}, and this one has no ://")
    if scheme not in SCHEMES:
        raise InvalidSettings(unknown("scheme of a Redis address", scheme, SCHEMES))
    login, at, rest = rest.rpartition("@")
    if at and set(login) & set("/?#"):
        _refuse(scheme, f"its user or password is not percent-encoded: {ENCODE}")
    username, _, password = (unquote(part) or None for part in login.partition(":"))
    rest, _, query = rest.partition("?")
    if "#" in rest + query:
        _refuse(scheme, "it contains a #")
    where = _where(scheme, rest)
    if "db" in (options := _options(scheme, query)):
        where["database"] = _database(scheme, options["db"])
    if where.get("database") and SCHEMES[scheme][0] is Kind.CLUSTER:
        _refuse(scheme, "a cluster has only database 0")
    return RedisAddress(scheme=scheme, username=username, password=password, **where)  # type: ignore[arg-type]


def shown(url: str) -> str:
    """The address without user and password. Also accepts an address that cannot be read."""
    try:
        return str(parse(url))
    except InvalidSettings:
        return "an address that cannot be read"


def _where(scheme: str, rest: str) -> dict[str, object]:
    kind = SCHEMES[scheme][0]
    if kind is Kind.SOCKET:
        if not rest.startswith("/"):
            _refuse(scheme, "it names no socket path")
        path = unquote(rest)
        if len(os.fsencode(path)) > SOCKET_BYTES or "\0" in path:
            _refuse(scheme, f"the path of its socket must have 1 to {SOCKET_BYTES} bytes")
        return {"path": path}
    hosts, _, path = rest.partition("/")
    found: dict[str, object] = {"hosts": tuple(_hosts(scheme, hosts))}
    if kind is Kind.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            _refuse(scheme, "it names no service after the Sentinels")
        found["service"] = unquote(service)
    if path := path.strip("/"):
        found["database"] = _database(scheme, path)
    return found


def _hosts(scheme: str, text: str) -> Iterator[tuple[str, int]]:
    kind = SCHEMES[scheme][0]
    given = text.split(",")
    if kind is Kind.SERVER and len(given) > 1:
        _refuse(scheme, "it names several hosts; use redis+sentinel:// or redis+cluster://, or name one host")
    for number, one in enumerate(given, 1):
        if kind is Kind.SERVER and (not one or one.startswith(":")):
            one = "localhost" + one
        found = HOST.fullmatch(one)
        port = int(found["port"] or (SENTINEL_PORT if kind is Kind.SENTINEL else PORT)) if found else 0
        if not found or not 0 < port < 65536:  # do not show the host: it may be a misplaced password
            _refuse(
                scheme, f"its {f'host no. {number}' if len(given) > 1 else 'host'} is not of the form HOST or HOST:PORT"
            )
        yield found["host"].strip("[]"), port


def _options(scheme: str, query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name.startswith("ssl"):
            _refuse(scheme, "it sets TLS after the ?; use tls_ca_file, tls_cert_file and tls_key_file")
        if name != "db":
            _refuse(scheme, "only db=NUMBER may follow the ?")
    return options


def _database(scheme: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        _refuse(scheme, "its database is not a number")
    return int(text)


def _refuse(scheme: str, why: str) -> NoReturn:
    form = FORMS[SCHEMES[scheme][0]].replace("redis", "rediss", 1) if SCHEMES[scheme][1] else FORMS[SCHEMES[scheme][0]]
    raise InvalidSettings(f"this {scheme}:// address cannot be used: {why}. Use the form {form}")


def _schemes() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)
