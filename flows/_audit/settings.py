"""`[jobs.dependency-audit]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class AuditSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str | None = None
    """Folder with OSV records (JSON, YAML or `all.zip` of each ecosystem), relative to the project. If it is set, no
    service is asked for vulnerabilities."""
    snapshot_max_age_days: float = Field(default=14, gt=0, le=36_500)
    """Days. If the newest record of an ecosystem is older, the report says that the audit is incomplete."""
    osv_url: str = "https://api.osv.dev"
    """OSV's API, or a mirror of it."""
    pypi_fallback: bool = True
    """Whether pip-audit asks PyPI's own advisories for Python packages when OSV does not answer."""
    registries: bool = True
    """Whether registries are asked for newer and withdrawn releases and for licences. They learn the names of all
    packages."""
    pypi_url: str = "https://pypi.org/simple"
    """Python's simple index (PEP 691)."""
    npm_url: str = "https://registry.npmjs.org"
    go_url: str = "https://proxy.golang.org"
    crates_url: str = "https://index.crates.io"
    """The sparse index of Cargo."""
    timeout_seconds: float = Field(default=20, gt=0, le=3600)
    """Time limit for one request."""
    flagged_licences: tuple[str, ...] = ("AGPL-*", "GPL-*", "GPL", "SSPL-*")
    """Patterns of SPDX names. The report lists packages whose licence offers no other choice."""
    keep_reports: int = Field(default=104, ge=1, le=100_000)
    """The number of reports to keep on disk. The default is two years of weekly reports."""
