"""The steps of the pipeline. Each reads the files of the previous step, writes its own, and returns JSON values.

Each plan has its own folder of files, so that a step with a cached result does not have to run again.
"""

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from flows._ml import card, datasets, evaluating, models, plots, preparing
from flows._ml.datasets import Source
from flows._ml.settings import MlSettings

TARGET = "__target__"
OUTPUTS = {
    "validate": "usable.parquet",
    "split": "test.parquet",
    "preprocess": "train.parquet",
    "train": "model.skops",
    "evaluate": "predictions.parquet",
}
"""The file of each step. Without it the cached result cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All inputs that determine the result."""

    source: Source
    target: str
    model: str
    problem: str
    exclude: tuple[str, ...]
    trust: tuple[str, ...]
    settings: MlSettings
    models_folder: Path

    @property
    def name(self) -> str:
        return f"{self.source.name}-{self.model}"

    @property
    def key(self) -> str:
        """A key that changes with the data, the parameters, the settings, this code or scikit-learn."""
        import sklearn

        about = [asdict(self.source), self.target, self.model, self.problem, self.exclude, self.trust]
        about += [self.settings.model_dump(exclude={"folder", "keep_models"}), sklearn.__version__, _code()]
        return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]

    @property
    def folder(self) -> Path:
        return self.models_folder / self.name / self.key


def _code() -> str:
    found = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.read_bytes())
    return found.hexdigest()


def validate(plan: Plan) -> dict[str, Any]:
    """Read, check and clean the data set; raises InvalidDataset or Leak."""
    table = datasets.read(plan.source, plan.settings.most_rows)
    found = preparing.prepare(
        table, plan.target, plan.settings, problem=plan.problem, exclude=plan.exclude, trust=plan.trust
    )
    plan.folder.mkdir(parents=True, exist_ok=True)
    found.features.assign(**{TARGET: found.target}).to_parquet(plan.folder / OUTPUTS["validate"])
    classes = found.target.value_counts().to_dict() if found.problem == "classification" else {}
    return {
        "problem": found.problem,
        "target": plan.target,
        "rows": len(found.features),
        "columns": list(found.features.columns),
        "classes": {str(name): int(count) for name, count in classes.items()},
        "notes": list(found.notes),
        "trusted": list(plan.trust),
    }


def split(plan: Plan, problem: str) -> dict[str, Any]:
    """Set the test rows aside."""
    features, target = _rows(plan, "usable.parquet")
    train, test, train_target, test_target = models.split(features, target, problem, plan.settings)
    train.assign(**{TARGET: train_target}).to_parquet(plan.folder / "train.parquet")
    test.assign(**{TARGET: test_target}).to_parquet(plan.folder / OUTPUTS["split"])
    return {"train_rows": len(train), "test_rows": len(test)}


def preprocess(plan: Plan) -> dict[str, Any]:
    """Try the preprocessing on the training rows, and record the resulting columns."""
    features, _ = _rows(plan, "train.parquet")
    fitted = models.preprocessor(features).fit(features)
    numbers = features.select_dtypes("number").shape[1]
    return {
        "numbers": numbers,
        "words": features.shape[1] - numbers,
        "columns_after": len(fitted.get_feature_names_out()),
    }


def train(plan: Plan, problem: str) -> dict[str, Any]:
    """Cross-validate on the training rows, fit on all of them, and save the model."""
    features, target = _rows(plan, "train.parquet")
    fitted, scores = models.train(plan.model, problem, features, target, plan.settings)
    models.save(fitted, plan.folder / OUTPUTS["train"], features.head(100))
    return scores


def evaluate(plan: Plan, problem: str) -> dict[str, Any]:
    """Evaluate the saved model on the test rows, and draw the plots."""
    import pandas

    features, target = _rows(plan, "test.parquet")
    fitted = models.load(plan.folder / "model.skops")
    found = evaluating.evaluate(fitted, problem, features, target, plan.settings.seed)
    truth, predicted = found.pop("truth"), found.pop("predicted")
    if problem == "classification":
        plots.confusion(truth, predicted, plan.folder / "confusion.png")
    else:
        plots.residuals(truth, predicted, plan.folder / "residuals.png")
    plots.importance(found["importance"], models.SCORING[problem], plan.folder / "importance.png")
    rows = pandas.DataFrame({"truth": truth, "predicted": predicted}, index=features.index)
    rows.to_parquet(plan.folder / OUTPUTS["evaluate"])
    return found | {"test_rows": len(features)}


def describe(
    plan: Plan, validated: dict[str, Any], trained: dict[str, Any], evaluated: dict[str, Any], at: datetime
) -> str:
    """Write the model card and the figures beside the model, drop the oldest models, and return the card."""
    import sklearn

    about = {
        "name": plan.name,
        "model": plan.model,
        "dataset": plan.source.name,
        "source": str(plan.source.path or f"scikit-learn's {plan.source.name}"),
        "digest": plan.source.digest,
        "scikit_learn": sklearn.__version__,
        "file": str(plan.folder / "model.skops"),
        "trusted": list(models.TRUSTED),
    }
    text = card.card(about, validated, trained, evaluated, at)
    (plan.folder / "card.md").write_text(text)
    figures = {"about": about, "data": validated, "cross_validation": trained, "test": evaluated}
    (plan.folder / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n")
    finished = sorted(plan.folder.parent.glob("*/card.md"), key=lambda path: path.stat().st_mtime)
    for old in finished[: -plan.settings.keep_models]:
        shutil.rmtree(old.parent)
    return text


def _rows(plan: Plan, file: str) -> tuple[Any, Any]:
    """Features and target, with words as Python strings, as the preprocessing expects them."""
    import pandas

    table = pandas.read_parquet(plan.folder / file)
    words = [column for column in table.columns if not pandas.api.types.is_numeric_dtype(table[column])]
    table = table.astype(dict.fromkeys(words, object))
    return table.drop(columns=TARGET), table[TARGET]
