"""The model card: the model, its data, its metrics, and how to use it."""

from datetime import datetime
from typing import Any

from horae.clock import isoformat

IMPORTANT = 10
FEW_ROWS = 50
"""The card calls metrics on fewer test rows rough."""
UNEVEN = 0.1
"""The card warns if the scores of the folds have a larger standard deviation."""


def warnings(validated: dict[str, Any], trained: dict[str, Any], evaluated: dict[str, Any]) -> list[str]:
    """The warnings that come before the figures."""
    found = []
    if trained["mean"] <= trained["baseline"]:
        found.append(
            f"The model is no better than a guess without features ({trained['scoring'].replace('_', ' ')} "
            f"{trained['mean']:.3f}, guess {trained['baseline']:.3f})."
        )
    if trained["deviation"] > UNEVEN:
        found.append(
            f"The folds of the cross-validation differ much (± {trained['deviation']:.3f}): there are few rows."
        )
    if evaluated["test_rows"] < FEW_ROWS:
        found.append(f"The test has only {evaluated['test_rows']} rows, so its metrics are rough.")
    if validated["trusted"]:
        found.append(
            f"These columns were not checked for leaks, because of `trust`: {', '.join(validated['trusted'])}."
        )
    return found


def card(
    about: dict[str, Any], validated: dict[str, Any], trained: dict[str, Any], evaluated: dict[str, Any], at: datetime
) -> str:
    """The card as Markdown. Warnings come first."""
    cautions = warnings(validated, trained, evaluated)
    metrics = "\n".join(f"| {name} | {value:.4f} |" for name, value in evaluated["metrics"].items())
    top = list(evaluated["importance"].items())[:IMPORTANT]
    parts = [
        "\n".join(f"> **{_cell(text)}**\n>" for text in cautions).removesuffix("\n>"),
        f"# {_cell(about['name'])}",
        f"{about['model']}, {validated['problem']} of `{_cell(validated['target'])}` in {_cell(about['dataset'])}, "
        f"trained {isoformat(at.replace(microsecond=0))} with scikit-learn {about['scikit_learn']}.",
        f"## On {evaluated['test_rows']} test rows\n\n| metric | value |\n| --- | ---: |\n{metrics}",
        f"## Cross-validation on {validated['train_rows']} training rows\n\n"
        f"{trained['scoring'].replace('_', ' ')} {trained['mean']:.3f} ± {trained['deviation']:.3f} over "
        f"{trained['folds']} folds; a guess without features has {trained['baseline']:.3f}.",
        "## Most important columns\n\n| column | loss when shuffled |\n| --- | ---: |\n"
        + "\n".join(f"| {_cell(name)} | {value:.4f} |" for name, value in top),
        f"## Data\n\n{validated['rows']} usable rows, {len(validated['columns'])} columns, of "
        f"`{_cell(about['source'])}` ({about['digest'][:20]}).",
        _list("### What was left out or changed", validated["notes"]),
        _list("### Classes", [f"{name}: {count}" for name, count in validated["classes"].items()]),
        f"## Use it\n\n```python\nimport skops.io\n\nmodel = skops.io.load({about['file']!r}, "
        f"trusted={about['trusted']!r})\nmodel.predict(rows)  # a pandas DataFrame with the columns "
        'above\n```\n\nIn columns of words, write "(missing)" for an absent value.',
        "Use it only for rows from the same source. It was not measured whether it treats groups of people alike.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _list(title: str, lines: list[str]) -> str:
    return "\n".join([title, "", *(f"- {_cell(line)}" for line in lines)]) if lines else ""


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
