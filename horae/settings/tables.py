"""The models of all settings. The docstring of each setting has its unit and default."""

import sys
from itertools import permutations
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from horae.jobs.policies import Tier
from horae.redis.access import RedisAccess, RedisUrl, fitting
from horae.settings.origins import Origins

DAY_SECONDS, YEAR_SECONDS = 86_400, 31_536_000
MANY = 10**9


def _http_url(url: SecretStr) -> SecretStr:
    """Raise ValueError for a URL that is not HTTP. The message leaves the URL out, because it may hold a password."""
    scheme, separator, _ = url.get_secret_value().partition("://")
    if scheme not in ("http", "https") or not separator:
        given = scheme if separator else "no scheme"
        raise ValueError(f"a URL must begin with one of http:// and https://, but this one begins with {given}")
    try:
        _ = urlsplit(url.get_secret_value()).port
    except ValueError:
        raise ValueError("its host or port cannot be read; a port is a number up to 65535") from None
    return url


type HttpUrl = Annotated[SecretStr, AfterValidator(_http_url)]


class Table(BaseModel):
    # pydantic would print the inputs in its errors, and an input may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class StoreSettings(RedisAccess):
    model_config = ConfigDict(allow_inf_nan=False)

    url: RedisUrl | None = None
    """Redis or Valkey: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://. Default: none; `horae up`
    starts an embedded Valkey."""
    port: int = Field(6479, ge=0, le=65535)
    """Loopback port of the embedded Valkey. 0: any free port."""
    allow_without_append_only: bool = False
    """Accept a store that loses the changes of its last seconds when it crashes. Default: no."""
    keep_runs_days: float = Field(30, gt=0, le=36_500)
    """Days that a settled run stays in the ledger. Must be longer than any broker can redeliver a message."""
    keep_runs_per_job: int = Field(10_000, ge=10, le=MANY)
    """The most settled runs of each job that stay in the ledger."""
    keep_dead_letters: int = Field(10_000, ge=1, le=MANY)
    """The most dead letters that stay; the oldest are removed first. The run of a letter stays as long as it does."""
    late_after_seconds: float = Field(60, gt=0, le=YEAR_SECONDS)
    """A fire that begins more than this many seconds after it was due is reported as late."""
    keep_log_lines: int = Field(2_000, ge=0, le=MANY)
    """The most log lines of a run that are kept. The newest lines are kept."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return fitting(self, self.url, self, "url")


class PrefectSettings(Table):
    api_url: HttpUrl | None = None
    """Prefect's API, such as http://127.0.0.1:4200/api. Default: `PREFECT_API_URL`, or `horae up` starts a server."""
    api_key: SecretStr | None = None
    """Key of Prefect's API. Default: `PREFECT_API_KEY`, or none."""
    port: int = Field(4200, ge=0, le=65535)
    """Loopback port of the server that `horae up` starts. 0: any free port."""
    work_pool: str = "horae"
    """The work pool. `horae up` creates it if it does not exist, and starts a worker for it."""
    worker_type: Literal["process", "horae-warm"] = "horae-warm"
    """Type of that worker. `horae-warm` forks each flow run from a process that has imported Prefect and the flow;
    `process` starts a new Python for each."""
    files: tuple[str, ...] = ("prefect.yaml",)
    """Deployment files: paths or globs, relative to the project. `HORAE_PREFECT__FILES` separates them by `:`."""


class QueueSettings(Table):
    provider: str = "redis"
    """The provider of durable jobs that do not name one."""
    redis_url: RedisUrl | None = None
    """Redis or Valkey for Redis Streams, in the form of `store.url`. Default: the store, with the store's access."""
    redis: RedisAccess = RedisAccess()
    """`[queue.redis]`: user, password and TLS for `redis_url`."""
    message_limit_bytes: int = Field(256 * 1024, ge=1024, le=2**29)
    """The largest message in bytes. Horae refuses to enqueue a larger one."""
    republish_after_seconds: float = Field(3600, ge=1, le=YEAR_SECONDS)
    """A run whose message no worker took within this many seconds is published again, unless the broker says that it
    still has as many messages as runs are queued. If the broker has no message at all, 30 seconds are enough."""
    signing_keys_file: Path | None = None
    """File with one or two keys, one a line. Horae signs messages with the first and verifies with both. It reads the
    file again when it changes. Relative to the project. Default: none; messages are neither signed nor verified."""
    tables: dict[str, dict[str, Any]] = Field({}, repr=False)
    """The tables `[queue.NAME]` of all other providers, unparsed. `read_table` parses one with the provider's model."""

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, given: Any) -> Any:
        """Move each table that is not a field of this model to `tables`."""
        if not isinstance(given, dict):
            return given
        own = cls.model_fields.keys() - {"tables"}
        tables = {name: value for name, value in given.items() if name not in own and isinstance(value, dict)}
        return {name: value for name, value in given.items() if name not in tables} | {"tables": tables}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        return fitting(self, self.redis_url, self.redis, "redis_url")


class WorkerSettings(Table):
    slots: int = Field(4, ge=1, le=1000)
    """The most runs at the same time in one queue worker."""
    lease_seconds: float = Field(6, ge=1, le=DAY_SECONDS)
    """Seconds that a claim stays valid after its last renewal. A worker renews it every third of this time."""
    grace_seconds: float = Field(8, ge=0, le=DAY_SECONDS)
    """Seconds that a stopping worker waits for its runs before it hands them back. Under `horae up` at most 4.5."""
    health_port: int = Field(8702, ge=0, le=65535)
    """Loopback port of /health and /metrics. 0: any free one."""
    health_host: str = "127.0.0.1"
    """Address that it listens on. In a container: 0.0.0.0."""


class SidecarSettings(Table):
    health_port: int = Field(8701, ge=0, le=65535)
    """Loopback port of /health and /metrics. 0: any free one."""
    health_host: str = "127.0.0.1"
    """Address that it listens on. In a container: 0.0.0.0."""
    grace_seconds: float = Field(5, ge=0, le=DAY_SECONDS)
    """Seconds that a stopping sidecar waits for its jobs before it cancels them. Under `horae up` at most 4.5."""


def _package_path(folder: str) -> str:
    """Raise ValueError if the files of this folder cannot be imported as modules of a package."""
    parts = folder.removesuffix("/").split("/")
    for part in parts:
        if not part.isidentifier() or iskeyword(part):
            raise ValueError(
                f"{folder!r} must be a folder below the project, and its parts must be Python names, such as "
                "jobs/durable"
            )
    if parts[0] in TAKEN or parts[0] in sys.stdlib_module_names:
        raise ValueError(f"{folder!r} begins with {parts[0]!r}, which is the name of a library; choose another folder")
    return "/".join(parts)


type Folder = Annotated[str, AfterValidator(_package_path)]
TAKEN = {"horae", *(tier.value for tier in Tier)}
"""Names of libraries. A folder with such a name would hide the library from the project."""


class FolderSettings(Table):
    """The folder of each tier's jobs, relative to the project, with `/` as separator."""

    flows: Folder = Tier.PREFECT.folder
    """Folder of the flows, which Prefect runs."""
    infra: Folder = Tier.ONEIRIC.folder
    """Folder of the durable jobs, which queue workers run."""
    internal: Folder = Tier.APSCHEDULER.folder
    """Folder of the internal jobs, which the sidecar runs."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        for tier, other in permutations(Tier, 2):
            if f"{self.of(other)}/".startswith(f"{self.of(tier)}/"):
                raise ValueError(
                    f"{other.folder} = {self.of(other)!r} is inside the folder of {tier.folder}; choose separate "
                    "folders"
                )
        return self

    def of(self, tier: Tier) -> str:
        """The folder of a tier's jobs, such as `jobs/durable`."""
        return str(getattr(self, tier.folder))

    @property
    def names(self) -> dict[str, str]:
        """Each folder by the name of its setting."""
        return {tier.folder: self.of(tier) for tier in Tier}

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(self.of(tier) for tier in Tier)


class CheckSettings(Table):
    ignore: tuple[str, ...] = ()
    """Codes of warnings that `horae check` does not report, such as HR506. Errors cannot be turned off."""


class Settings(BaseSettings):
    """All settings of a project. The constructor uses only its arguments; `load` reads the files and variables."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)
    _origins: Origins = PrivateAttr(default_factory=Origins)

    project: Path = Path()
    """The folder of horae.toml, prefect.yaml and the job folders. It is not a setting itself."""
    namespace: str = Field("horae", pattern=r"^[a-z][a-z0-9-]{0,40}$")
    """Prefix of the name of every key, stream, subject, queue and topic."""
    repos: tuple[str, ...] = (".",)
    """Git repositories that jobs inspect: paths or globs, relative to the project. `HORAE_REPOS` separates by `:`."""
    state_dir: str = ".horae"
    """The folder of embedded servers, reports and backups, relative to the project."""
    revision: int | None = Field(None, ge=0, le=2**53)
    """The version of the job definitions. A process with a newer one takes over a job. Set it when you build an image.
    Default, in Unix seconds: the time of the commit, or of the newest job file with uncommitted changes."""
    folders: FolderSettings = FolderSettings()
    store: StoreSettings = StoreSettings()
    prefect: PrefectSettings = PrefectSettings()
    queue: QueueSettings = QueueSettings()
    worker: WorkerSettings = WorkerSettings()
    sidecar: SidecarSettings = SidecarSettings()
    check: CheckSettings = CheckSettings()
    jobs: dict[str, dict[str, Any]] = Field({}, repr=False)  # a job may have secrets
    """The tables `[jobs.<name>]`. The model that the job declares parses its table."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the constructor's arguments. The sources of `load` refuse unknown names and record origins."""
        return (init_settings,)

    def with_origins(self, origins: Origins) -> Self:
        """A copy of these settings with the origin of each value."""
        self._origins = origins
        return self

    def origin(self, *place: str) -> str:
        """The origin of a value, such as `horae.toml:3` or `HORAE_STORE__URL`; empty if no source has it."""
        return self._origins.of(place)

    @property
    def carried(self) -> str:
        """The name of the queue provider that uses the state store's server, or an empty text."""
        own = self.queue.redis_url is None or self.queue.redis_url == self.store.url
        return "redis" if self.store.url and own else ""

    @property
    def state(self) -> Path:
        return self.project / self.state_dir
