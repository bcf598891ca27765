"""Measures how long each job file takes to import after Horae itself, and which import takes the most."""

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from horae.programs import run_program
from horae.settings import Settings

LIMIT = timedelta(milliseconds=100)
TIMEOUT_SECONDS = 20
TRIES = 3
"""Measure this many times and use the least value, because a busy machine can only make an import slower."""

LINE = re.compile(r"^import time:\s+(?P<own>\d+)\s*\|\s+(?P<all>\d+)\s*\| (?P<indent> *)(?P<module>\S+)$")
PROBE = """
import sys
from pathlib import Path
import horae.project.loading, horae.jobs.context, pydantic
horae.project.loading.own_packages(Path(sys.argv[1]), sys.argv[2].split(":"))
for module in sys.argv[3:]:
    try:
        exec("import " + module)
    except BaseException:
        pass
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportCost:
    module: str
    """`infra.x` or `internal.x`."""
    total: timedelta
    blamed: str
    """The import that takes the most time; the job's own module if its top level takes the most."""
    blamed_cost: timedelta


def slow_imports(settings: Settings, modules: Sequence[str]) -> list[ImportCost]:
    """The job modules that take longer than the limit to import. Modules that cannot be imported are left out."""
    if not modules:
        return []
    slow = {cost.module: cost for cost in _measure(settings, modules) if cost.total > LIMIT}
    for _ in range(TRIES - 1):
        if not slow:
            break
        again = {cost.module: cost for cost in _measure(settings, list(slow))}
        slow = {name: min(slow[name], again.get(name, slow[name]), key=lambda c: c.total) for name in slow}
        slow = {name: cost for name, cost in slow.items() if cost.total > LIMIT}
    return [slow[name] for name in modules if name in slow]


def _measure(settings: Settings, modules: Sequence[str]) -> list[ImportCost]:
    command = [sys.executable, "-X", "importtime", "-c", PROBE, str(settings.project)]
    command += [":".join(settings.folders.all), *modules]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    done = run_program(command, cwd=settings.project, env=environment, timeout_seconds=TIMEOUT_SECONDS)
    return parse(done.stderr.decode(errors="replace").splitlines(), modules)


def parse(lines: Iterable[str], modules: Sequence[str]) -> list[ImportCost]:
    """Costs of these modules from the output of `python -X importtime`: children before parents, indented by two."""
    found: list[ImportCost] = []
    pending: dict[int, list[tuple[int, str]]] = {}
    for text in lines:
        match = LINE.match(text)
        if match is None:
            continue
        depth, module, total = len(match["indent"]) // 2, match["module"], int(match["all"])
        children = pending.pop(depth + 1, [])
        if module in modules:
            own = (int(match["own"]), module)
            cost, blamed = max([own, *children])
            found.append(
                ImportCost(
                    module=module,
                    total=timedelta(microseconds=total),
                    blamed=blamed,
                    blamed_cost=timedelta(microseconds=cost),
                )
            )
        pending.setdefault(depth, []).append((total, module))
    return found
