"""`[jobs.health-check]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class HealthSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timeout_seconds: float = Field(default=3, gt=0, le=4.5)
    """How long each check may take. All run at once, and the job itself ends after 5 seconds."""
    free_disk_mib: int = Field(default=500, ge=0)
    """MiB that must be free where the state folder lies."""
    late_seconds: float = Field(default=300, gt=0, le=31_536_000)
    """How long after a fire was due its run may be missing from the ledger."""
