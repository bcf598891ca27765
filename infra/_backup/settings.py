"""`[jobs.database-backup]` in horae.toml."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BucketSettings(BaseModel):
    """A bucket that gets a copy of each backup."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str = Field(min_length=1)
    """Name of the bucket. It must exist."""
    prefix: str = ""
    """Begins the key of each object, such as `host-1/`. Give each machine a prefix of its own."""
    endpoint: str | None = None
    """URL of an S3-compatible server, such as `https://minio.internal:9000`. Default: Amazon S3."""
    region: str | None = None
    """Default: that of the profile or of AWS_REGION, else `us-east-1`."""
    profile: str | None = None
    """Profile of the credentials file. Default: AWS_PROFILE, else the usual chain of boto3."""
    credentials_file: str | None = None
    """A file in the format of ~/.aws/credentials, relative to the project. Default: the usual chain of boto3."""
    ca_file: str | None = None
    """Certificates (PEM) that the server's is checked against, relative to the project. Default: the system's."""


class BackupSettings(BaseModel):
    """The databases to back up, where backups are kept, and the retention."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    databases: tuple[str, ...] = Field(default=(), repr=False)  # a URL may hold a password
    """SQLite files, relative to the project, and postgresql://, mysql:// or mariadb:// URLs. Default: the database of
    Prefect's own server."""
    folder: str | None = None
    """Relative to the project. Default: `backups` in the state folder."""
    s3: BucketSettings | None = None
    """`[jobs.database-backup.s3]`: a bucket that gets a copy of each backup. Default: none."""
    recipients: tuple[str, ...] = ()
    """Public keys that backups are encrypted for: `age1…`, or SSH keys (`ssh-ed25519 …`, `ssh-rsa …`). Default: none,
    and backups are not encrypted."""
    identity_file: str | None = None
    """File with the private key (`AGE-SECRET-KEY-…`, or an SSH key), relative to the project. Only a drill and a
    restore need it."""
    drill: Literal["off", "folder", "s3"] = "off"
    """After each backup, restore it into a scratch database, from the folder or from the bucket."""
    drill_postgres: str | None = Field(default=None, repr=False)
    """postgresql:// URL of the server for scratch databases. Default: the server of the database."""
    drill_mysql: str | None = Field(default=None, repr=False)
    """mysql:// or mariadb:// URL of the server for scratch databases. Default: the server of the database."""
    keep_last: int = Field(default=3, ge=1)
    """The number of newest backups of each database that are always kept."""
    keep_daily: int = Field(default=7, ge=0)
    """The number of latest days with a backup whose last backup is kept. Days, weeks and months are in UTC."""
    keep_weekly: int = Field(default=4, ge=0)
    """The number of latest weeks (from Monday) whose last backup is kept."""
    keep_monthly: int = Field(default=6, ge=0)
    """The number of latest months whose last backup is kept."""
    postgres_bin: str | None = None
    """The folder of pg_dump, pg_restore and psql. Default: PATH."""
    mysql_bin: str | None = None
    """The folder of mariadb-dump and mariadb, or of mysqldump and mysql. Default: PATH."""
    timeout_seconds: float = Field(default=3000, gt=0, le=604_800)
    """Time limit for each step of one database: copying it, and restoring it."""

    @model_validator(mode="after")
    def _drill_is_possible(self) -> Self:
        if self.drill == "s3" and self.s3 is None:
            raise ValueError('drill is "s3", but no bucket is configured; add [jobs.database-backup.s3]')
        if self.drill != "off" and self.recipients and self.identity_file is None:
            raise ValueError(
                f'drill is "{self.drill}" and backups are encrypted, so a drill needs identity_file; or set drill to '
                '"off" and run `horae restore --drill --identity FILE` on a machine that has the private key'
            )
        return self
