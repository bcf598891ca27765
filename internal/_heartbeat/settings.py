"""`[jobs.heartbeat]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

SCHEMES = ("http://", "https://")


class HeartbeatSettings(BaseModel):
    # A ping URL is a secret: with it an attacker can suppress the alarm.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    processes: dict[str, str] = {}
    """More processes to watch than this sidecar and those of `horae up`: names, and the base URLs of their /health."""
    prefect_workers: int = Field(default=1, ge=0, le=10_000)
    """The number of Prefect workers that must be online in the work pool. 0: they are not watched."""
    silent_after_seconds: float = Field(default=30, gt=0, le=86_400)
    """A process that does not answer for this long is silent."""
    timeout_seconds: float = Field(default=1.5, gt=0, le=1.5)
    """Timeout of one check, one ping, or one request to Prefect. All checks run at once; the job itself has 5 s."""
    ping_url: SecretStr | None = None
    """The dead-man's switch: a ping URL of healthchecks.io or of a server that speaks its protocol. Default: none."""
    ping_every_seconds: float = Field(default=60, ge=15, le=86_400)
    """Time between two equal pings. The hosted service refuses more than five a minute."""

    @field_validator("processes")
    @classmethod
    def _urls(cls, processes: dict[str, str]) -> dict[str, str]:
        for name, url in processes.items():
            if not url.startswith(SCHEMES):
                raise ValueError(f"{name}: give the base URL of its /health, such as http://10.0.0.5:8702")
        return processes

    @field_validator("ping_url")
    @classmethod
    def _ping_url(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(SCHEMES):
            raise ValueError("give an http:// or https:// URL, such as https://hc-ping.com/UUID")
        return url
