"""Validation: selects the usable rows and columns of a table, and refuses unusable tables."""

from dataclasses import dataclass, replace
from typing import Any

from flows._ml.errors import InvalidDataset, Leak
from flows._ml.settings import MlSettings
from horae.errors import nearest

MISSING = "(missing)"
"""Stands for an absent value in a column of words."""
CLASSES = 20
"""A target of whole numbers with at most this many distinct values counts as classes."""
IDENTIFIER_SHARE = 0.9
"""A column of words with a larger share of distinct values identifies rows and is left out."""
SAMPLE = 5_000
"""The most rows for the search for leaks."""
MOSTLY = 0.5
"""A column with values in a larger share of the rows is also scored on these rows alone."""
PROBLEMS = ("classification", "regression")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A table ready for training: numbers as floats, all other columns as words."""

    features: Any
    """A pandas DataFrame."""
    target: Any
    """A pandas Series: words for classes, floats for numbers."""
    problem: str
    """One of PROBLEMS."""
    notes: tuple[str, ...]
    """A sentence for each column or row that was left out or changed."""


def prepare(
    table: Any,
    target: str,
    settings: MlSettings,
    *,
    problem: str = "auto",
    exclude: tuple[str, ...] = (),
    trust: tuple[str, ...] = (),
) -> Prepared:
    """Check and clean a table; raises InvalidDataset, or Leak if a column outside `trust` reveals the target."""
    import numpy

    for given in (*exclude, *trust):
        if given not in table.columns:
            best = nearest(given, table.columns)
            raise InvalidDataset(f"there is no column {given!r}" + (f", did you mean {best!r}?" if best else ""))
    if target in exclude:
        raise InvalidDataset(f"the target {target!r} cannot be excluded")
    notes = [f"{column}: left out, because of `exclude`" for column in exclude]
    table = table.drop(columns=list(exclude)).replace([numpy.inf, -numpy.inf], numpy.nan)
    absent = int(table[target].isna().sum())
    if absent:
        notes.append(f"{absent} of {len(table)} rows have no value of {target} and were left out")
    table = table[table[target].notna()]
    table, copies = _without_copies(table)
    if copies:
        notes.append(f"{copies} copies of other rows were left out")
    if len(table) < settings.least_rows:
        raise InvalidDataset(
            f"{len(table)} usable rows are too few, at least {settings.least_rows} are needed. {'; '.join(notes)}"
        )
    kind, values = _target(table[target], problem, settings)
    features, dropped = _features(table.drop(columns=target))
    notes += dropped
    if features.shape[1] == 0:
        raise InvalidDataset(f"no column is left for training. {'; '.join(notes)}")
    prepared = Prepared(features=features, target=values, problem=kind, notes=tuple(notes))
    _refuse_leaks(prepared, settings, trust)
    missing = int(features.isna().sum().sum() + (features == MISSING).sum().sum())
    if missing:
        share = 100 * missing / features.size
        filled = f"{missing} cells ({share:.1f} %) are missing; numbers are filled with the median of the training rows"
        prepared = replace(prepared, notes=(*prepared.notes, f"{filled}, and a column tells where"))
    return prepared


def _without_copies(table: Any) -> tuple[Any, int]:
    """The table without duplicate rows, which could be in both training and test, and the number of duplicates.

    If no column identifies rows, equal rows are not duplicates: two customers may have the same values.
    """
    telling = [column for column in table.columns if table[column].nunique() * 4 > len(table)]
    copies = table.duplicated() & table[telling].notna().all(axis=1)
    if not telling:
        copies[:] = False
    return table[~copies].reset_index(drop=True), int(copies.sum())


def _target(column: Any, problem: str, settings: MlSettings) -> tuple[str, Any]:
    from pandas.api import types

    if problem not in ("auto", *PROBLEMS):
        raise InvalidDataset(f"unknown problem {problem!r}; it is one of auto, {', '.join(PROBLEMS)}")
    numeric = types.is_numeric_dtype(column) and not types.is_bool_dtype(column)
    distinct = column.nunique()
    if distinct < 2:
        raise InvalidDataset(
            f"the target {column.name!r} has one value only ({column.iloc[0]!r}), so there is nothing to learn; "
            "give rows of at least two classes"
        )
    if problem == "auto":
        whole = numeric and bool((column % 1 == 0).all())
        few = distinct <= CLASSES and distinct * 20 <= len(column)
        problem = "classification" if not numeric or (whole and few) else "regression"
    if problem == "regression":
        if not numeric:
            raise InvalidDataset(
                f"the target {column.name!r} has values that are not numbers, so it cannot be used for a regression"
            )
        return problem, column.astype(float)
    words = column.map(lambda value: str(int(value)) if numeric and value % 1 == 0 else str(value)).astype(object)
    counts = words.value_counts()
    if len(counts) > max(CLASSES, len(words) // 10):
        raise InvalidDataset(
            f"the target {column.name!r} has {len(counts)} distinct values in {len(words)} rows, which is too many "
            "for classes"
        )
    rare = counts[counts < settings.least_rows_per_class]
    if len(rare):
        named = ", ".join(f"{name} ({count})" for name, count in rare.head(5).items())
        raise InvalidDataset(
            f"these classes of {column.name!r} have fewer than {settings.least_rows_per_class} rows: {named}; "
            "give more rows of them, or leave their rows out"
        )
    return problem, words


def _features(table: Any) -> tuple[Any, list[str]]:
    """The useful columns, each as floats or as words, and a sentence for each column that is left out."""
    import pandas
    from pandas.api import types

    kept: dict[str, Any] = {}
    notes = []
    for name in table.columns:
        column = table[name]
        distinct = column.nunique(dropna=False)
        if column.isna().all():
            notes.append(f"{name}: left out, because it is empty")
        elif distinct < 2:
            notes.append(f"{name}: left out, because it has only one value")
        elif types.is_datetime64_any_dtype(column):
            kept[name] = (column - column.min()).dt.total_seconds() + column.min().timestamp()
            notes.append(f"{name}: used as seconds since 1970")
        elif types.is_numeric_dtype(column) and not types.is_bool_dtype(column):
            if _numbers_rows(name, column):
                notes.append(f"{name}: left out, because it numbers the rows")
            else:
                kept[name] = column.astype(float)
        elif column.nunique() > max(CLASSES, IDENTIFIER_SHARE * column.notna().sum()):
            notes.append(f"{name}: left out, because nearly each row has its own value")
        else:
            kept[name] = column.map(str, na_action="ignore").astype(object).where(column.notna(), MISSING)
    return pandas.DataFrame(kept, index=table.index), notes


def _numbers_rows(name: str, column: Any) -> bool:
    """Whether a column is an identifier: distinct whole numbers that are consecutive, or a name like that of an id."""
    if not column.is_unique or column.isna().any() or not bool((column % 1 == 0).all()):
        return False
    called = name.lower() in ("id", "index", "unnamed: 0") or name.lower().endswith(("_id", " id"))
    return called or bool((column.diff().dropna() == 1).all())


def _refuse_leaks(prepared: Prepared, settings: MlSettings, trust: tuple[str, ...]) -> None:
    """Raise Leak if a single column predicts the target nearly perfectly."""
    found = {
        column: score
        for column in prepared.features.columns
        if column not in trust and (score := _alone(prepared, column, settings)) >= settings.leak_score
    }
    if found:
        named = ", ".join(f"{column!r} ({score:.4f})" for column, score in found.items())
        columns = ", ".join(f'"{column}"' for column in found)
        measure = "balanced accuracy" if prepared.problem == "classification" else "R²"
        raise Leak(
            f"the target leaks into the features: alone and cross-validated, these columns predict it with a {measure} "
            f"of {settings.leak_score:g} or more: {named}. Such a column is most often a copy of the target, or is "
            f"written after it is known. Leave it out: exclude=[{columns}]. If it is truly known before the target, "
            f"say so: trust=[{columns}]"
        )


def _alone(prepared: Prepared, column: str, settings: MlSettings) -> float:
    """How well this column alone predicts the target: on all rows, or on the rows with a value, if most have one."""
    import pandas

    sample = prepared.target.sample(min(SAMPLE, len(prepared.target)), random_state=settings.seed)
    values = prepared.features.loc[sample.index, column]
    present = values.notna() & (values != MISSING)
    if not pandas.api.types.is_numeric_dtype(values):
        values = pandas.Series(pandas.factorize(values)[0], index=values.index, dtype=float)
    score = _score(prepared.problem, values.fillna(values.min() - 1), sample, settings.seed)
    if present.all() or present.mean() < MOSTLY or sample[present].nunique() < 2:
        return score
    return max(score, _score(prepared.problem, values[present], sample[present], settings.seed))


def _score(problem: str, values: Any, target: Any, seed: int) -> float:
    """The cross-validated score of a small tree; for two numeric columns also their correlation."""
    from sklearn.model_selection import cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if problem == "classification":
        folds = min(3, int(target.value_counts().min()))
        if folds < 2:
            return 0.0
        tree = DecisionTreeClassifier(max_leaf_nodes=max(8, 2 * target.nunique()), random_state=seed)
        return float(cross_val_score(tree, values.to_frame(), target, cv=folds, scoring="balanced_accuracy").mean())
    tree = DecisionTreeRegressor(max_leaf_nodes=512, random_state=seed)
    score = float(cross_val_score(tree, values.to_frame(), target, cv=3, scoring="r2").mean())
    correlation = float(values.corr(target)) if values.std() > 0 else 0.0
    return max(score, correlation**2)
