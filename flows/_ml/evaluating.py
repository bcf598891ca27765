"""Measures a model on rows that it was not trained on, and the importance of its columns."""

from typing import Any

REPEATS = 5
"""How often the values of each column are shuffled."""
IMPORTANCE_ROWS = 2_000
"""The most test rows for the importance of columns."""


def evaluate(fitted: Any, problem: str, features: Any, target: Any, seed: int) -> dict[str, Any]:
    """Metrics on the test rows, the predictions beside the truth, and the importance of each column."""
    predicted = fitted.predict(features)
    if problem == "classification":
        metrics = _classes(fitted, features, target, predicted)
    else:
        metrics = _numbers(target, predicted)
    return {
        "metrics": metrics,
        "truth": [value if isinstance(value, str) else float(value) for value in target],
        "predicted": [value if isinstance(value, str) else float(value) for value in predicted],
        "importance": _importance(fitted, problem, features, target, seed),
    }


def _classes(fitted: Any, features: Any, target: Any, predicted: Any) -> dict[str, float]:
    from sklearn import metrics

    found = {
        "accuracy": metrics.accuracy_score(target, predicted),
        "balanced accuracy": metrics.balanced_accuracy_score(target, predicted),
        "F1 (macro)": metrics.f1_score(target, predicted, average="macro", zero_division=0),
    }
    chances = fitted.predict_proba(features)
    classes = list(fitted.classes_)
    if len(set(target)) == len(classes):
        found["log loss"] = metrics.log_loss(target, chances, labels=classes)
        two = len(classes) == 2
        found["ROC AUC"] = metrics.roc_auc_score(
            target, chances[:, 1] if two else chances, multi_class="raise" if two else "ovr", labels=classes
        )
    return {name: float(value) for name, value in found.items()}


def _numbers(target: Any, predicted: Any) -> dict[str, float]:
    from sklearn import metrics

    found = {
        "R²": metrics.r2_score(target, predicted),
        "mean absolute error": metrics.mean_absolute_error(target, predicted),
        "root mean squared error": metrics.root_mean_squared_error(target, predicted),
    }
    return {name: float(value) for name, value in found.items()}


def _importance(fitted: Any, problem: str, features: Any, target: Any, seed: int) -> dict[str, float]:
    """The loss of score when the values of a column are shuffled, the most important column first."""
    from sklearn.inspection import permutation_importance

    from flows._ml.models import SCORING

    rows = features.sample(min(IMPORTANCE_ROWS, len(features)), random_state=seed).index
    found = permutation_importance(
        fitted, features.loc[rows], target.loc[rows], n_repeats=REPEATS, random_state=seed, scoring=SCORING[problem]
    )
    pairs = zip(features.columns, found.importances_mean, strict=True)
    return {str(name): float(value) for name, value in sorted(pairs, key=lambda pair: -pair[1])}
