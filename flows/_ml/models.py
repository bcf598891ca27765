"""Models: their names, training with cross-validation, and saving without pickle."""

from pathlib import Path
from typing import Any

from flows._ml.errors import InvalidDataset
from flows._ml.settings import MlSettings
from horae.errors import unknown

MODELS = ("gradient-boosting", "linear", "random-forest")
TRUSTED = (
    "numpy.dtype",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""Types that a model file of this pipeline may contain in addition to the types that skops trusts by default."""
FEW_ROWS = 20_000
"""With fewer training rows only one thread is used."""
SCORING = {"classification": "balanced_accuracy", "regression": "r2"}


def check_name(model: str) -> None:
    """Raise InvalidDataset if there is no model with this name."""
    if model not in MODELS:
        raise InvalidDataset(unknown("model", model, MODELS))


def preprocessor(features: Any) -> Any:
    """The steps before the model: fill and scale numbers, and turn words into one column per value."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = list(features.select_dtypes("number").columns)
    words = [column for column in features.columns if column not in numbers]
    fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    steps = [
        ("numbers", Pipeline([("fill", fill), ("scale", StandardScaler())]), numbers),
        ("words", OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=30, sparse_output=False), words),
    ]
    return ColumnTransformer([step for step in steps if step[2]])


def pipeline(model: str, problem: str, features: Any, seed: int) -> Any:
    """Preprocessing and model in one pipeline, so that each fold of the cross-validation fits both on its own rows."""
    from sklearn import ensemble, linear_model
    from sklearn.pipeline import Pipeline

    classifies = problem == "classification"
    if model == "linear":
        chosen = linear_model.LogisticRegression(max_iter=5000) if classifies else linear_model.Ridge()
    elif model == "random-forest":
        kind = ensemble.RandomForestClassifier if classifies else ensemble.RandomForestRegressor
        chosen = kind(n_estimators=200, random_state=seed)
    else:
        boosting = ensemble.HistGradientBoostingClassifier if classifies else ensemble.HistGradientBoostingRegressor
        chosen = boosting(random_state=seed)
    return Pipeline([("preprocess", preprocessor(features)), ("model", chosen)])


def split(features: Any, target: Any, problem: str, settings: MlSettings) -> tuple[Any, Any, Any, Any]:
    """Features and target of the training rows and of the test rows; each class has its share in both."""
    from sklearn.model_selection import train_test_split

    classifies = problem == "classification"
    fraction = max(settings.test_fraction, target.nunique() / len(target)) if classifies else settings.test_fraction
    train, test, train_target, test_target = train_test_split(
        features, target, test_size=fraction, random_state=settings.seed, stratify=target if classifies else None
    )
    return train, test, train_target, test_target


def train(model: str, problem: str, features: Any, target: Any, settings: MlSettings) -> tuple[Any, dict[str, Any]]:
    """The fitted pipeline, and its cross-validation scores together with those of a guess without features."""
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    classifies = problem == "classification"
    folds = min(settings.folds, int(target.value_counts().min())) if classifies else settings.folds
    kind = StratifiedKFold if classifies else KFold
    fold = kind(folds, shuffle=True, random_state=settings.seed)
    whole = pipeline(model, problem, features, settings.seed)
    guess = DummyClassifier() if classifies else DummyRegressor()
    # Threads cost more than they save on few rows: 37 s instead of 3 s for 178 rows on two busy cores.
    with threadpool_limits(1 if len(features) < FEW_ROWS else None):
        scores = cross_val_score(whole, features, target, cv=fold, scoring=SCORING[problem])
        baseline = cross_val_score(guess, features, target, cv=fold, scoring=SCORING[problem])
        whole.fit(features, target)
    return whole, {
        "scoring": SCORING[problem],
        "folds": folds,
        "scores": [float(score) for score in scores],
        "mean": float(scores.mean()),
        "deviation": float(scores.std()),
        "baseline": float(baseline.mean()),
    }


def save(fitted: Any, path: Path, sample: Any) -> None:
    """Write a model with skops, atomically, after a check that the file gives the same predictions."""
    import skops.io

    place = path.with_suffix(".tmp")
    skops.io.dump(fitted, place)
    if list(load(place).predict(sample)) != list(fitted.predict(sample)):
        place.unlink()
        raise RuntimeError("the saved model predicts other values than the trained model")
    place.replace(path)


def load(path: Path) -> Any:
    """Read a model; raises skops' UntrustedTypesFoundException if the file has types that are not allowed here."""
    import skops.io

    return skops.io.load(path, trusted=list(TRUSTED))
