"""The report of a sweep: results, repositories that could not be swept, and changes since the previous report."""

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from flows._sweep.repositories import Repository
from flows._sweep.sweep import Sweep
from horae.clock import isoformat

KEPT = 400
"""The number of reports to keep on disk: more than a year of daily reports."""
LATEST = "latest.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A repository that could not be swept, and why."""

    repository: Repository
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A figure that differs from the previous report."""

    repository: str
    figure: str
    before: int
    after: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    at: datetime
    sweeps: tuple[Sweep, ...]
    broken: tuple[Broken, ...]
    previous_at: str | None = None
    """The time of the previous report; None: there is none."""
    changes: tuple[Change, ...] = ()
    news: tuple[str, ...] = ()
    """A sentence for each repository that was added, removed, broken or repaired."""

    def as_dict(self) -> dict[str, Any]:
        """The documented shape of the JSON on disk: docs/how-to/read-the-sweep.md."""
        return {
            "at": isoformat(self.at),
            "previous_at": self.previous_at,
            "repositories": [*map(_swept, self.sweeps), *map(_broken, self.broken)],
            "changes": [asdict(change) for change in self.changes],
            "news": list(self.news),
        }


def figures(sweep: Sweep) -> dict[str, int]:
    """The numbers that are compared between sweeps. A number that could not be measured is left out."""
    tree, content = sweep.work_tree, sweep.content
    counted = {
        "files": content.files,
        "lines": content.lines,
        "todos": content.todos,
        "test_files": content.test_files,
        "uncommitted": tree.staged + tree.changed + tree.conflicted + tree.untracked,
    }
    if sweep.lint:
        counted["lint_findings"] = sweep.lint.findings
    if sweep.complexity:
        counted |= {"too_complex": sweep.complexity.over_limit, "highest_complexity": sweep.complexity.highest}
    return counted


def _swept(sweep: Sweep) -> dict[str, Any]:
    measured = asdict(sweep)
    repository = measured.pop("repository")
    committed = measured.pop("last_commit_at")
    return {
        "name": repository["name"],
        "path": str(repository["path"]),
        "status": "partial" if sweep.problems else "swept",
        "reason": "; ".join(sweep.problems) or None,
        "figures": figures(sweep),
        "last_commit_at": isoformat(committed) if committed else None,
        **measured,
    }


def _broken(broken: Broken) -> dict[str, Any]:
    repository = broken.repository
    return {"name": repository.name, "path": str(repository.path), "status": "broken", "reason": broken.reason}


def compared(report: Report, previous: dict[str, Any] | None) -> Report:
    """The report with the changes since `previous`. Repositories are matched by path."""
    if previous is None:
        return report
    before = {entry["path"]: entry for entry in previous["repositories"]}
    now = {entry["path"]: entry for entry in report.as_dict()["repositories"]}
    changes = [
        Change(repository=entry["name"], figure=figure, before=before[path]["figures"][figure], after=value)
        for path, entry in now.items()
        for figure, value in entry.get("figures", {}).items()
        if before.get(path, {}).get("figures", {}).get(figure, value) != value
    ]
    news = [sentence for path, entry in now.items() if (sentence := _news(before.get(path), entry))]
    news += [f"{entry['name']} is no longer swept" for path, entry in before.items() if path not in now]
    return replace(report, previous_at=previous["at"], changes=tuple(changes), news=tuple(news))


def _news(before: dict[str, Any] | None, now: dict[str, Any]) -> str | None:
    if before is None:
        return f"{now['name']} is new"
    if before["status"] != "broken" and now["status"] == "broken":
        return f"{now['name']} broke: {now['reason']}"
    if before["status"] == "broken" and now["status"] != "broken":
        return f"{now['name']} can be swept again"
    return None


def previous(folder: Path) -> dict[str, Any] | None:
    """The latest report in the folder; None if there is none that can be read."""
    try:
        found = json.loads((folder / LATEST).read_text())
        _ = found["at"], [(entry["path"], entry["name"], entry["status"]) for entry in found["repositories"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(found)


def write(report: Report, folder: Path) -> Path:
    """Write the report atomically as `<instant>.json` and as `latest.json`, and delete the oldest reports."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(report.as_dict(), indent=2, default=str) + "\n"
    path = folder / f"{report.at:%Y%m%dT%H%M%S.%f}Z.json"
    for place in (path, folder / LATEST):
        _write_whole(place, text)
    for old in sorted(folder.glob("[0-9]*Z.json"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def _write_whole(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
