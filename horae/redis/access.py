"""Settings that let Horae into a Redis or Valkey."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr

from horae.errors import InvalidSettings
from horae.redis.address import Kind, parse


def _readable(url: SecretStr) -> SecretStr:
    """ValueError, without the URL: it may hold a password."""
    try:
        parse(url.get_secret_value())
    except InvalidSettings as error:
        raise ValueError(error.message) from None
    return url


type RedisUrl = Annotated[SecretStr, AfterValidator(_readable)]


class RedisAccess(BaseModel):
    """How a Redis or Valkey is spoken to: what its URL does not say, or should not."""

    # An input may be a secret, and an error is printed with those that led to it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    username: str | None = None
    """ACL user, if the URL names none. Default: the server's user `default`."""
    password: SecretStr | None = None
    """Password, if the URL has none. Default: none."""
    password_file: Path | None = None
    """File with that password, read at each new connection. Relative to the project. Default: none."""
    sentinel_username: str | None = None
    """ACL user of the Sentinels themselves. Default: their user `default`."""
    sentinel_password: SecretStr | None = None
    """Password of the Sentinels themselves. Default: none."""
    sentinel_password_file: Path | None = None
    """File with that password, read each time they are asked. Relative to the project. Default: none."""
    tls_ca_file: Path | None = None
    """Certificates (PEM) that the server's is checked against. Relative to the project. Default: the system's."""
    tls_cert_file: Path | None = None
    """Certificate (PEM) that is shown to the server. Relative to the project. Default: none."""
    tls_key_file: Path | None = None
    """Key (PEM) of that certificate. Relative to the project. Default: it is in the same file."""
    tls_check_hostname: bool = True
    """Refuse a certificate that is not made out to the host it came from. Default: yes."""

    @property
    def given(self) -> dict[str, Any]:
        """What differs from the defaults, by name."""
        defaults = RedisAccess.model_fields
        return {name: getattr(self, name) for name in defaults if getattr(self, name) != defaults[name].default}

    @property
    def plain(self) -> dict[str, str | bool]:
        """`given` with its secrets, as JSON takes it. Not to be shown."""
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value if value is False else str(value)
            for name, value in self.given.items()
        }

    def below(self, folder: Path) -> Self:
        """With its paths relative to that folder."""
        paths = {name: folder / value for name, value in self if isinstance(value, Path)}
        return self.model_copy(update=paths)


def fitting[T: BaseModel](table: T, url: SecretStr | None, access: RedisAccess, name: str) -> T:
    """The table; raises ValueError where the access does not belong to its address, the setting `name`."""
    given = list(access.given)
    if url is None:
        if given:
            raise ValueError(f"{given[0]} is given, and {name} is not: there is no server that it belongs to")
        return table
    address = parse(url.get_secret_value())
    twice = {"username": address.username, "password": address.password, "password_file": address.password}
    for key in given:
        if twice.get(key):
            raise ValueError(f"{key} is given, and {name} has one too: say it once")
        if key.startswith("tls_") and not address.tls:
            raise ValueError(f"{key} is given, and {name} is {address.scheme}://, which has no TLS: say rediss://")
        if key.startswith("sentinel_") and address.kind is not Kind.SENTINEL:
            raise ValueError(f"{key} is given, and {name} names no Sentinel: say redis+sentinel://")
    if {"password", "password_file"} <= set(given) or {"sentinel_password", "sentinel_password_file"} <= set(given):
        raise ValueError("a password and a file with it are given: say it once")
    if access.tls_key_file and not access.tls_cert_file:
        raise ValueError("tls_key_file is given, and tls_cert_file is not")
    return table
