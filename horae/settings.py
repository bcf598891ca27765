"""Settings: `horae.toml`, overridden by `HORAE_*` variables. Every one says its unit and its default.

`HORAE_STORE__URL` overrides `url` in `[store]`: a double underscore goes one table down. Plain pydantic reads them:
importing pydantic-settings alone would cost `horae jobs` half of the time it may take.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from horae.errors import InvalidSettings, unknown
from horae.redis_address import Kind, parse

FILE = "horae.toml"
PREFIX = "HORAE_"
LISTS = {"repos"}


class Table(BaseModel):
    # An input may be a secret, and an error is printed with those that led to it.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class RedisAccess(Table):
    """How a Redis or Valkey is spoken to: what its URL does not say, or should not."""

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


class StoreSettings(RedisAccess):
    url: SecretStr | None = None
    """Redis or Valkey: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://. Default: none; `horae up`
    starts an embedded Valkey."""
    port: int = Field(6479, ge=0, le=65535)
    """Loopback port of the embedded Valkey. 0: any free one."""
    allow_without_append_only: bool = False
    """Accept a store that loses its last seconds when it dies. Default: no."""
    keep_runs_days: float = Field(30, gt=0)
    """Days that a settled run stays in the ledger. Must exceed what any broker can redeliver."""
    keep_runs_per_job: int = Field(10_000, ge=10)
    """Settled runs that stay in the ledger for each job."""
    keep_log_lines: int = Field(2_000, ge=0)
    """Lines of a run's log that are kept, the newest."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return _fitting(self, self.url, self, "url")


def _fitting[T: Table](table: T, url: SecretStr | None, access: RedisAccess, name: str) -> T:
    """The table; raises ValueError where its address cannot be read, or the access does not belong to it."""
    given = list(access.given)
    if url is None:
        if given:
            raise ValueError(f"{given[0]} is given, and {name} is not: there is no server that it belongs to")
        return table
    try:
        address = parse(url.get_secret_value())
    except InvalidSettings as error:
        raise ValueError(f"{name}: {error.message}") from None
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


class PrefectSettings(Table):
    api_url: str | None = None
    """Prefect's API, such as http://127.0.0.1:4200/api. Default: `PREFECT_API_URL`, or `horae up` starts a server."""
    api_key: SecretStr | None = None
    """Key of that API. Default: `PREFECT_API_KEY`, or none."""
    port: int = Field(4200, ge=0, le=65535)
    """Loopback port of the server that `horae up` starts. 0: any free one."""
    work_pool: str = "horae"
    """The pool that `horae up` makes if it is not there, and whose worker it starts."""


class QueueSettings(Table):
    provider: str = "redis"
    """Where durable jobs go that name no provider."""
    redis_url: SecretStr | None = None
    """Redis or Valkey for Redis Streams, an address as `store.url`. Default: the store, with the store's access."""
    redis: RedisAccess = RedisAccess()
    """`[queue.redis]`: user, password and TLS of `redis_url`."""
    message_limit_bytes: int = Field(256 * 1024, ge=1024)
    """A larger message is refused when it is enqueued."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return _fitting(self, self.redis_url, self.redis, "redis_url")


class WorkerSettings(Table):
    slots: int = Field(4, ge=1, le=1000)
    """Runs at once in one queue worker."""
    lease_seconds: float = Field(6, ge=1)
    """How long a claim outlives its worker; renewed every third of it."""
    grace_seconds: float = Field(8, ge=0)
    """How long a draining worker lets its runs go on before it hands them back."""
    health_port: int = Field(8702, ge=0, le=65535)
    """Loopback port of /health and /metrics. 0: any free one."""
    health_host: str = "127.0.0.1"
    """Address that it listens on. In a container: 0.0.0.0."""


class SidecarSettings(Table):
    health_port: int = Field(8701, ge=0, le=65535)
    """Loopback port of /health and /metrics. 0: any free one."""
    health_host: str = "127.0.0.1"
    """Address that it listens on. In a container: 0.0.0.0."""
    grace_seconds: float = Field(5, ge=0)
    """How long a draining sidecar lets its jobs go on before it cancels them."""


class Settings(Table):
    project: Path = Path()
    """The folder of horae.toml, prefect.yaml and the job folders; not itself a setting."""
    namespace: str = Field("horae", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Begins the name of every key, stream, subject, queue and topic."""
    repos: tuple[str, ...] = (".",)
    """Git repositories that jobs look at: paths or globs, relative to the project. `HORAE_REPOS` separates by `:`."""
    state_dir: str = ".horae"
    """Where embedded servers, reports and backups live, relative to the project."""
    revision: int | None = Field(None, ge=0)
    """Which version of the job definitions this is; a newer one takes over. Set it when building an image. Default: the
    time of the commit, or of the newest job file that is not committed as it is, in Unix seconds."""
    store: StoreSettings = StoreSettings()
    prefect: PrefectSettings = PrefectSettings()
    queue: QueueSettings = QueueSettings()
    worker: WorkerSettings = WorkerSettings()
    sidecar: SidecarSettings = SidecarSettings()
    jobs: dict[str, dict[str, Any]] = {}
    """`[jobs.<name>]`: what that job's own model reads."""

    @property
    def state(self) -> Path:
        return self.project / self.state_dir


def find_project(start: Path) -> Path:
    """The nearest folder at or above `start` with a horae.toml; raises InvalidSettings."""
    for folder in (start, *start.parents):
        if (folder / FILE).is_file():
            return folder
    raise InvalidSettings(f"no {FILE} in {start} or above it; run this in a Horae project, or say --project FOLDER")


def load(project: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of a project (default: the one around the working folder); raises InvalidSettings."""
    given = os.environ if environment is None else environment
    folder = (project or find_project(Path.cwd())).resolve()
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text()) if path.is_file() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{path}: {error}") from error
    _overlay(values, given)
    try:
        settings = Settings(**{**values, "project": folder})
    except ValidationError as error:
        raise InvalidSettings(_sentence(error)) from error
    queue = settings.queue.model_copy(update={"redis": settings.queue.redis.below(folder)})
    return settings.model_copy(update={"store": settings.store.below(folder), "queue": queue})


def _overlay(values: dict[str, Any], environment: Mapping[str, str]) -> None:
    for key, text in environment.items():
        if not key.startswith(PREFIX):
            continue
        *tables, name = key.removeprefix(PREFIX).lower().split("__")
        target = values
        for table in tables:
            target = target.setdefault(table, {})
            if not isinstance(target, dict):
                raise InvalidSettings(f"{key}: {table} is not a table")
        target[name] = [part for part in text.split(os.pathsep) if part] if name in LISTS else text
    fallback = values.setdefault("prefect", {})
    for name in ("api_url", "api_key"):
        inherited = environment.get(f"PREFECT_{name.upper()}")
        if inherited and isinstance(fallback, dict):
            fallback.setdefault(name, inherited)


def _sentence(error: ValidationError) -> str:
    problems = []
    for item in error.errors(include_url=False, include_input=False):
        where = [str(part) for part in item["loc"]]
        if item["type"] == "extra_forbidden":
            problems.append(
                unknown("setting", where[-1], _known(where[:-1])) + f" (in [{'.'.join(where[:-1]) or FILE}])"
            )
        else:
            says = item["ctx"]["error"] if item["type"] == "value_error" else item["msg"]
            problems.append(f"{'.'.join(where)}: {says}")
    return "; ".join(problems)


def _known(tables: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for table in tables:
        annotation = model.model_fields[table].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return [name for name in model.model_fields if name != "project"]
