"""`[jobs.database-backup]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class BackupSettings(BaseModel):
    """What is backed up, where to, and how long it stays."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    databases: tuple[str, ...] = Field(default=(), repr=False)  # a URL may hold a password
    """SQLite files, relative to the project, and postgresql:// URLs. Default: the database of Prefect's own server."""
    folder: str | None = None
    """Relative to the project. Default: `backups` in the state folder."""
    keep_last: int = Field(default=3, ge=1)
    """Backups of each database that stay in any case, the newest."""
    keep_daily: int = Field(default=7, ge=0)
    """Days, the latest that have a backup, of which the last one stays. Days, weeks and months are those of UTC."""
    keep_weekly: int = Field(default=4, ge=0)
    """Weeks (from Monday) of which the last one stays."""
    keep_monthly: int = Field(default=6, ge=0)
    """Months of which the last one stays."""
    postgres_bin: str | None = None
    """The folder of pg_dump and pg_restore. Default: PATH."""
    timeout_seconds: float = Field(default=3000, gt=0, le=604_800)
    """The longest that copying one database may take, and restoring it for the check."""
