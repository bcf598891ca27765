"""`[jobs.ml-pipeline]` in horae.toml."""

from pydantic import BaseModel, ConfigDict, Field


class MlSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: str | None = None
    """Folder of the models, relative to the project. Default: `models` in the state folder."""
    keep_models: int = Field(default=10, ge=1, le=10_000)
    """The number of models to keep for each name."""
    test_fraction: float = Field(default=0.2, gt=0.0, lt=0.9)
    """Share of the rows that are kept for the test and not used in training."""
    folds: int = Field(default=5, ge=2, le=50)
    """Folds of the cross-validation; fewer where a class has fewer rows."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of the random numbers. The same data and settings give the same model."""
    leak_score: float = Field(default=0.999, gt=0.5, le=1.0)
    """A single column that predicts the target this well in cross-validation (balanced accuracy or R²) counts as a
    leak."""
    least_rows: int = Field(default=30, ge=10, le=1_000_000)
    """A data set with fewer usable rows is refused."""
    least_rows_per_class: int = Field(default=5, ge=2, le=1_000_000)
    most_rows: int = Field(default=1_000_000, ge=100, le=1_000_000_000)
    """A data set with more rows is refused."""
