"""`[jobs.report-generation]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class ReportSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str | None = None
    """Folder of the reports, relative to the project. Default: `reports/report-generation` in the state folder."""
    days: int = Field(default=7, ge=1, le=366)
    """Days that a report covers."""
    keep_reports: int = Field(default=104, ge=1, le=100_000)
    """The number of reports to keep on disk. The default is two years of weekly reports."""
