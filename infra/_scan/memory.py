"""Remembers the findings of earlier scans and the accepted ones. All others are new."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infra._scan.finding import Finding, Outcome, ScanFailed

VERSION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    finding: Finding
    first_seen: str
    first_run: str
    """The run that found it first. A second attempt of that run calls it new again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    findings: Mapping[str, Known] = field(default_factory=dict)
    """By fingerprint: what the last scan found."""
    tips: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By repository: the commits up to which the history was searched."""
    salt: str = ""
    """Salt of the baseline, in case the baseline file is removed. With another salt all secrets would be new."""
    finished: Mapping[str, str] = field(default_factory=dict)
    """By repository and tool: the run in which that tool finished there for the first time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    salt: str
    """Of the checksums of secrets."""
    accepted: Mapping[str, str] = field(default_factory=dict)
    """By fingerprint: what was accepted, in words."""


def load(path: Path) -> Memory:
    values = _read(path)
    if values is None:
        return Memory()
    try:
        return Memory(
            findings={
                one["fingerprint"]: Known(
                    finding=Finding.from_dict(one["finding"]), first_seen=one["first_seen"], first_run=one["first_run"]
                )
                for one in values["findings"]
            },
            tips={repo: tuple(tips) for repo, tips in values["tips"].items()},
            finished=values["finished"],
            salt=values["salt"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ScanFailed(f"{path} is damaged ({error!r}); move it away to begin with a first scan") from error


def save(memory: Memory, path: Path) -> None:
    findings = [
        {
            "fingerprint": fingerprint,
            "finding": known.finding.as_dict(),
            "first_seen": known.first_seen,
            "first_run": known.first_run,
        }
        for fingerprint, known in sorted(memory.findings.items())
    ]
    values = {
        "version": VERSION,
        "salt": memory.salt,
        "findings": findings,
        "tips": dict(memory.tips),
        "finished": dict(memory.finished),
    }
    write(path, json.dumps(values, indent=1))


def load_baseline(path: Path) -> Baseline | None:
    values = _read(path)
    if values is None:
        return None
    try:
        return Baseline(salt=str(values["salt"]), accepted={str(k): str(v) for k, v in values["accepted"].items()})
    except (KeyError, AttributeError) as error:
        raise ScanFailed(f"{path} is damaged ({error!r}); restore it, or remove it to accept no findings") from error


def new_baseline(memory: Memory) -> Baseline:
    return Baseline(salt=memory.salt or secrets.token_hex(16))


def save_baseline(baseline: Baseline, path: Path) -> None:
    values = {"version": VERSION, "salt": baseline.salt, "accepted": dict(sorted(baseline.accepted.items()))}
    write(path, json.dumps(values, indent=1) + "\n")


def accept(baseline: Baseline, wanted: Sequence[str], found: Iterable[Finding]) -> Baseline:
    """Accept findings by fingerprint, by its beginning, or `all`. Raises ScanFailed if nothing matches."""
    known = {finding.fingerprint: finding for finding in found}
    chosen: dict[str, str] = {}
    for text in wanted:
        matches = list(known) if text == "all" else [one for one in known if len(text) >= 6 and one.startswith(text)]
        if not matches:
            raise ScanFailed(
                f"accept {text!r}: no finding of this scan has that fingerprint. Give six or more of its first "
                "characters as the SARIF file shows it, or 'all'"
            )
        chosen |= {one: f"{known[one].rule} in {known[one].place}: {known[one].message}" for one in matches}
    return replace(baseline, accepted={**baseline.accepted, **chosen})


def keep(outcomes: Iterable[Outcome], before: Memory, gone: Iterable[str], run_id: str, at: str) -> Memory:
    """Merge the outcomes into the memory. Findings of failed tools and of repositories that were not scanned stay.
    Findings in the history stay unless `gone` names them."""
    left = set(gone)
    done = {(one.repo, one.tool) for one in outcomes if one.failure is None}
    stays = {
        fingerprint: known
        for fingerprint, known in before.findings.items()
        if (known.finding.repo, known.finding.tool) not in done or known.finding.commit
        if fingerprint not in left
    }
    finished = dict(before.finished)
    for outcome in outcomes:
        if outcome.failure is None:
            finished.setdefault(f"{outcome.repo} {outcome.tool}", run_id)
        for finding in outcome.findings:
            old = before.findings.get(finding.fingerprint)
            first_seen, first_run = (old.first_seen, old.first_run) if old else (at, run_id)
            stays[finding.fingerprint] = Known(finding=finding, first_seen=first_seen, first_run=first_run)
    return replace(before, findings=stays, finished=finished)


def write(path: Path, text: str) -> None:
    """Replace the file as a whole, durably, for its owner alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _read(path: Path) -> dict[str, Any] | None:
    """Raises ScanFailed where there is a file that cannot be read."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ScanFailed(f"{path} cannot be read ({error}); restore it, or move it away to begin again") from error
    if not isinstance(values, dict) or values.get("version") != VERSION:
        raise ScanFailed(f"{path} has another version than {VERSION}, which this program reads")
    return values
