"""Plots as PNG files, without a display."""

import base64
from pathlib import Path
from typing import Any

SHOWN = 20
"""Columns in the plot of importance."""
DOTS_PER_INCH = 110
BLUE = "#2f6fb0"


def confusion(truth: list[str], predicted: list[str], path: Path) -> None:
    """How often each true class (row) was predicted as each class (column)."""
    from sklearn.metrics import confusion_matrix

    classes = sorted({*truth, *predicted})
    counts = confusion_matrix(truth, predicted, labels=classes)
    size = max(4.0, 0.55 * len(classes) + 2)
    figure, axes = _figure(size + 1, size)
    axes.imshow(counts, cmap="Blues")
    for row in range(len(classes)):
        for column in range(len(classes)):
            count = int(counts[row, column])
            dark = count > counts.max() / 2
            axes.text(column, row, str(count), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix, test rows")
    _save(figure, path)


def residuals(truth: list[float], predicted: list[float], path: Path) -> None:
    """Truth minus prediction over the prediction: a sound model has a level cloud around zero."""
    figure, axes = _figure(7, 4.5)
    rest = [true - guess for true, guess in zip(truth, predicted, strict=True)]
    axes.scatter(predicted, rest, s=14, alpha=0.6, color=BLUE, edgecolors="none")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(xlabel="predicted", ylabel="true − predicted", title="Residuals, test rows")
    _save(figure, path)


def importance(found: dict[str, float], scoring: str, path: Path) -> None:
    """How much the score falls when a column is shuffled."""
    shown = list(found.items())[:SHOWN][::-1]
    figure, axes = _figure(7, max(2.5, 0.32 * len(shown) + 1.2))
    axes.barh([name[:40] for name, _ in shown], [value for _, value in shown], color=BLUE)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlabel=f"loss of {scoring.replace('_', ' ')} when shuffled", title="Importance of columns, test rows")
    _save(figure, path)


def data_url(path: Path) -> str:
    """The image inside its own address, so that the UI needs no file server."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    # Not pyplot: it keeps figures of all threads in one list, and may look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, dpi=DOTS_PER_INCH, format="png", metadata={"Software": None})
