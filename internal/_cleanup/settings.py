"""`[jobs.cache-cleanup]` in horae.toml."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

STATE = "{state}"


class Place(BaseModel):
    """A folder and the limits for its files."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    path: str = Field(min_length=1)
    """The folder, relative to the project. `{state}` stands for the state folder, `~` for the home folder."""
    kind: Literal["files", "results"] = "files"
    """`files`: any file, by age and size. `results`: results of Prefect's tasks, also by their own expiration."""
    names: str = "*"
    """Pattern of file names, with `*` and `?`. Only matching files are deleted. All folders below are searched."""
    older_than_days: float | None = Field(default=None, gt=0, le=36_500)
    """Files that were last changed longer ago are deleted. Default: no limit."""
    most_mib: float | None = Field(default=None, ge=0)
    """If the files are larger in total, the oldest are deleted until the rest fits. Default: no limit."""
    keep: int = Field(default=0, ge=0)
    """The number of newest files that are never deleted."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.kind == "files" and self.older_than_days is None and self.most_mib is None:
            raise ValueError(
                f"{self.path}: set older_than_days, most_mib or both; without them, nothing is ever deleted"
            )
        return self


TOOL_CACHES = (".ruff_cache", ".mypy_cache", ".pytest_cache", ".import_linter_cache")
DEFAULT_PLACES = (
    Place(path="{state}/prefect/storage", kind="results", older_than_days=30),
    Place(path="{state}/reports", older_than_days=180, most_mib=500, keep=50),
    Place(path="{state}/tmp", older_than_days=1),
    Place(path="{state}/logs", names="*.log.1", older_than_days=30),
    *(Place(path=name, older_than_days=30, most_mib=1024) for name in TOOL_CACHES),
)


class CleanupSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    places: tuple[Place, ...] = DEFAULT_PLACES
    """The places to clean up. Default: Prefect's results, old reports, temporary files and the caches of tools."""
    youngest_minutes: float = Field(default=60, ge=1, le=1_000_000)
    """A file that was changed within this many minutes is never deleted, because it may be in use."""
    seconds: float = Field(default=3.5, gt=0, le=4)
    """How long one run may take for all places. The report begins with what it could not check in that time."""
