"""One table for the eye and one JSON file for everything else."""

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.bench import Bench
from benchmarks.environments import REQUIREMENTS
from benchmarks.figures import Figure
from benchmarks.goals import Goal
from horae.clock import isoformat, now

WIDTH = 160
"""At least: a table that breaks its figures is none."""
PACKAGES = {
    "docket": "pydocket",
    "raw": "redis",
    "raw-redis": "redis",
    "raw-nats": "nats-py",
    "raw-rabbitmq": "aio-pika",
    "raw-kafka": "aiokafka",
}
"""By contender. The package of any other has its name, up to a hyphen."""
REACHED = {True: "reached", False: "not reached", None: "not measured"}


def table(figures: Sequence[Figure], goals: Sequence[Goal]) -> Table:
    """A row a figure, a column a contender. `±` is the widest scatter of the row: half of the spread of the rounds."""
    who = list(dict.fromkeys(one.who for one in figures))
    wanted = {goal.what: goal for goal in goals}
    title = "Horae and its peers, on one Valkey (append-only, fsync each second)"
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.add_column("figure", no_wrap=True)
    for name in who:
        drawn.add_column(name, justify="right", no_wrap=True)
    drawn.add_column("±", justify="right", no_wrap=True)
    drawn.add_column("goal of Horae")
    of = {(one.what, one.who): one for one in figures}
    for what, unit in dict.fromkeys((one.what, one.unit) for one in figures):
        goal = wanted.pop(what, None)
        row = [of.get((what, name)) for name in who]
        drawn.add_row(f"{what} ({unit})", *map(cell, row), _scatter(row), _verdict(goal) if goal else "")
    for goal in wanted.values():
        if goal.seen:
            cells = [goal.seen if name == "horae" else "" for name in who]
            drawn.add_row(goal.what, *cells, "", _verdict(goal))
    return drawn


def _verdict(goal: Goal) -> str:
    return f"{goal.wanted}: {REACHED[goal.reached]}" + (f" ({goal.note})" if goal.note else "")


def cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    return f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"


def _scatter(row: Sequence[Figure | None]) -> str:
    found = [figure.scatter for figure in row if figure and figure.scatter is not None]
    return f"{100 * max(found):.0f} %" if found else ""


def show(figures: Sequence[Figure], goals: Sequence[Goal], failures: Sequence[str]) -> None:
    """To stdout."""
    console = Console()
    console.width = max(console.width, WIDTH)
    console.print(table(figures, goals))
    for failure in failures:
        # Of a traceback, what failed and why; all of it is in the JSON.
        first, *rest = failure.splitlines()
        console.print(f"not measured: {first} {rest[-1].strip() if rest else ''}", markup=False, highlight=False)


def write(bench: Bench, figures: Sequence[Figure], goals: Sequence[Goal]) -> None:
    """The whole run as JSON, at `--report`."""
    options = asdict(bench.options) | {"report": str(bench.options.report)}
    body = {
        "at": isoformat(now()),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": sys.version.split()[0]},
        "valkey": bench.valkey.version,
        "options": options,
        "contenders": [
            {"name": one.name, "setup": one.setup, "version": _version(one.name), "share_of_jobs": one.share}
            for one in (*bench.contenders, *bench.on_providers)
        ],
        "figures": [asdict(one) for one in figures],
        "goals": [asdict(goal) for goal in goals],
        "failures": bench.failures,
    }
    path = bench.options.report
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=2) + "\n")


def _version(name: str) -> str:
    """Of a peer what is pinned, of the others what is installed here."""
    pins = REQUIREMENTS / f"{name}.txt"
    package = PACKAGES.get(name, name.partition("-")[0])
    if pins.is_file():
        lines = pins.read_text().splitlines()
        return next(line.partition("==")[2] for line in lines if line.startswith(f"{package}=="))
    return importlib.metadata.version(package)
