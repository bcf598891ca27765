"""`[jobs.security-scan]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from infra._scan.finding import Severity


class ScanSettings(BaseModel):
    """What is scanned, where the reports go, and which findings fail the run."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    repos: tuple[str, ...] = ()
    """Folders to scan: paths or globs, relative to the project. Default: `repos` of horae.toml."""
    folder: str | None = None
    """Where reports and the memory of earlier scans are kept, relative to the project. Default: `security` in the state
    folder."""
    baseline: str | None = None
    """File of the accepted findings, relative to the project; commit it to share it. Default: `baseline.json` in
    `folder`."""
    fail_at: str = "high"
    """The run fails on a new finding this bad or worse: `critical`, `high`, `medium`, `low` or `never`."""
    exclude: tuple[str, ...] = ()
    """Files that are not scanned: globs on the path within the repository, such as `vendor/*`. They are counted."""
    bandit_skip: tuple[str, ...] = ("B101",)
    """Tests of bandit that are not run. Default: the one that names every `assert`."""
    tool_timeout_seconds: float = Field(default=600, gt=0, le=7_200)
    """The longest that one tool may take for one repository."""
    file_limit_mib: int = Field(default=5, ge=1, le=1_024)
    """MiB of the largest file that is searched for secrets. Larger ones are named."""
    keep_reports: int = Field(default=26, ge=1, le=10_000)
    """SARIF files that stay, the newest."""

    @field_validator("fail_at")
    @classmethod
    def _severity(cls, given: str) -> str:
        allowed = [*(severity.value for severity in Severity), "never"]
        if given not in allowed:
            raise ValueError(f"{given!r} is not one of {', '.join(allowed)}")
        return given
