"""`[jobs.health-check]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class HealthSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timeout_seconds: float = Field(default=3, gt=0, le=4.5)
    """Time limit of each check. All checks run concurrently, and the job itself ends after 5 seconds."""
    free_disk_mib: int = Field(default=500, ge=0)
    """MiB that must be free on the disk of the state folder."""
    late_seconds: float = Field(default=300, gt=0, le=31_536_000)
    """How long after its due time a fire may be missing from the ledger."""
