"""`[jobs.log-aggregation]` in horae.toml."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator


class LogSettings(BaseModel):
    """Which logs are collected, where to, and how long the collected entries stay."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    files: tuple[str, ...] = ()
    """Log files to follow: paths or globs, relative to the project. Name the file that is written to (`app.log`), not
    its rotated copies. Default: none but Horae's own."""
    own: bool = True
    """Follow Horae's own logs, `logs/*.log` in the state folder, too."""
    folder: str | None = None
    """Where the Parquet files and the offsets are kept, relative to the project. Default: `collected-logs` in the state
    folder."""
    keep_days: int = Field(default=30, ge=1, le=36_500)
    """Days (UTC) of entries that stay. Older entries are removed, and not collected."""
    zone: str | None = None
    """Time zone of timestamps that name none, such as `Europe/Berlin`. Default: that of this machine."""
    entry_limit_bytes: int = Field(default=65_536, ge=1_024, le=4_194_304)
    """A longer entry is cut, and marked as cut."""
    run_limit_mib: int = Field(default=1_024, ge=1, le=1_048_576)
    """MiB of logs that one run reads. The next run reads the rest."""
    run_limit_seconds: float = Field(default=900, gt=0, le=1_500)
    """Seconds after which a run stops reading; its time limit is 30 minutes. The next run reads the rest."""
    quiet_seconds: float = Field(default=60, ge=0, le=86_400)
    """The last entry of a file is left for the next run while the file is younger than this: it may be unfinished."""
    top_patterns: int = Field(default=10, ge=1, le=100)
    """New error patterns that the result names, the most frequent first."""

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"{zone!r} is not a time zone; give an IANA name such as 'Europe/Berlin'") from None
        return zone
