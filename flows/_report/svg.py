"""Writes plots as SVG text. They need no library, no script and no other file."""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

from flows._report.figures import OPEN, VERDICTS

COLOURS = {
    "ran": "#2e9e6b",
    "failed": "#d64545",
    "missed": "#e08a1e",
    "skipped": "#8a94a6",
    "cancelled": "#7a5cc4",
    OPEN: "#4a90d9",
}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 220, 56, 24, 10


def bars(days: Mapping[date, Mapping[str, int]]) -> str:
    """Runs per day, stacked by verdict, with a scale."""
    highest = max((sum(counts.values()) for counts in days.values()), default=0)
    top = _round_up(highest)
    plot = HEIGHT - BOTTOM - TOP
    slot = (WIDTH - LEFT) / max(1, len(days))
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Runs a day by verdict">']
    for share in (0, 0.5, 1):
        y = TOP + plot * (1 - share)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="axis" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:,.0f}</text>')
    for place, (day, counts) in enumerate(days.items()):
        x, y = LEFT + slot * (place + 0.15), float(TOP + plot)
        told = ", ".join(f"{name} {counts[name]:,}" for name in (*VERDICTS, OPEN) if counts.get(name))
        parts.append(f"<g><title>{day:%a %Y-%m-%d}: {escape(told or 'no run')}</title>")
        for name in (*VERDICTS, OPEN):
            tall = plot * counts.get(name, 0) / top
            # Give failures a least height, so that they are visible beside a hundred thousand successful runs.
            tall = max(tall, 2.0) if counts.get(name) else 0.0
            y -= tall
            if tall:
                box = f'x="{x:.1f}" y="{y:.1f}" width="{slot * 0.7:.1f}" height="{tall:.1f}"'
                parts.append(f'<rect {box} fill="{COLOURS[name]}"/>')
        middle = x + slot * 0.35
        parts.append(
            f'</g><text class="axis" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{day:%a %d}</text>'
        )
    return "".join([*parts, "</svg>"])


def line(values: Sequence[float | None], label: str) -> str:
    """A small line plot with one value per day. A day without a value is a gap; a single value is a dot."""
    width, height = 110, 26
    known = [value for value in values if value is not None]
    if not known:
        return ""
    top = max(known) or 1.0
    step = (width - 6) / max(1, len(values) - 1)
    points = [None if v is None else (3 + step * n, height - 3 - (height - 6) * v / top) for n, v in enumerate(values)]
    parts = [f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">']
    parts.append(f"<title>{escape(label)}</title>")
    run: list[tuple[float, float]] = []
    for point in [*points, None]:
        if point is not None:
            run.append(point)
            continue
        if len(run) > 1:
            parts.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in run)}"/>')
        elif run:
            parts.append(f'<circle cx="{run[0][0]:.1f}" cy="{run[0][1]:.1f}" r="2"/>')
        run = []
    return "".join([*parts, "</svg>"])


def legend() -> str:
    """The legend of the colours."""
    return " ".join(
        f'<span class="key"><i style="background:{colour}"></i>{name}</span>' for name, colour in COLOURS.items()
    )


def _round_up(value: int) -> int:
    """The next value of 2, 4, 10, 20, 40, 100, …, so that the scale can be halved."""
    power = 1
    while True:
        for step in (2, 4, 10):
            if value <= step * power:
                return step * power
        power *= 10
