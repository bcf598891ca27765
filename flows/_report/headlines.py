"""The headlines of the newest reports of the code sweep and the dependency audit, if they exist."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from horae.clock import parse_instant

OLD = timedelta(days=8)
"""A report that is older than this is listed as not seen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Headline:
    job: str
    text: str
    unseen: str = ""
    """A sentence if there is no recent report that can be read."""


def of_sweep(reports: Path, now: datetime) -> Headline:
    """The headline of the code sweep."""

    def text(found: dict[str, Any]) -> str:
        repositories = found["repositories"]
        broken = [one["name"] for one in repositories if one["status"] == "broken"]
        lint = sum(one.get("figures", {}).get("lint_findings", 0) for one in repositories)
        told = f"{len(repositories) - len(broken)} of {len(repositories)} repositories swept, {lint} lint findings"
        return told + (f"; not swept: {', '.join(broken)}" if broken else "")

    return _headline("code-sweep", reports, now, text)


def of_audit(reports: Path, now: datetime) -> Headline:
    """The headline of the dependency audit."""

    def text(found: dict[str, Any]) -> str:
        told = ", ".join(f"{count} {word}" for word, count in found["severities"].items() if count)
        checked = f"{found['checked']} of {found['packages']} packages checked for vulnerabilities"
        whole = "" if found["complete"] else ", INCOMPLETE"
        nothing = "none known" if found["complete"] else "none found in what was checked"
        return f"{checked}{whole}: {told or nothing}; {len(found['appeared'])} new"

    return _headline("dependency-audit", reports, now, text)


def _headline(job: str, reports: Path, now: datetime, text: Any) -> Headline:
    path = reports / job / "latest.json"
    try:
        found = json.loads(path.read_text())
        at = parse_instant(found["at"])
        told = f"{text(found)} ({at:%Y-%m-%d})"
    except FileNotFoundError:
        return Headline(job=job, text="no report", unseen=f"There is no report of {job} in {path.parent}.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return Headline(job=job, text="no report", unseen=f"The report of {job} cannot be read ({path}): {error}.")
    if now - at > OLD:
        return Headline(job=job, text=told, unseen=f"The newest report of {job} is {(now - at).days} days old.")
    return Headline(job=job, text=told)
