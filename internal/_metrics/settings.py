"""`[jobs.metrics-collection]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class MetricsSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    timeout_seconds: float = Field(default=3, gt=0, le=4.5)
    """Time limit of one measurement. All run concurrently, and the job itself ends after 5 seconds."""
    disks: tuple[str, ...] = ()
    """Folders whose file systems are measured, relative to the project. Default: that of the state folder."""
