"""`[jobs.database-backup]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class BackupSettings(BaseModel):
    """The databases to back up, the folder, and the retention."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    databases: tuple[str, ...] = Field(default=(), repr=False)  # a URL may hold a password
    """SQLite files, relative to the project, and postgresql:// URLs. Default: the database of Prefect's own server."""
    folder: str | None = None
    """Relative to the project. Default: `backups` in the state folder."""
    keep_last: int = Field(default=3, ge=1)
    """The number of newest backups of each database that are always kept."""
    keep_daily: int = Field(default=7, ge=0)
    """The number of latest days with a backup whose last backup is kept. Days, weeks and months are in UTC."""
    keep_weekly: int = Field(default=4, ge=0)
    """The number of latest weeks (from Monday) whose last backup is kept."""
    keep_monthly: int = Field(default=6, ge=0)
    """The number of latest months whose last backup is kept."""
    postgres_bin: str | None = None
    """The folder of pg_dump and pg_restore. Default: PATH."""
    timeout_seconds: float = Field(default=3000, gt=0, le=604_800)
    """Time limit for copying one database, and for restoring it for the check."""
