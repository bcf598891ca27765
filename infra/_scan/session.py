"""One run of the security scan: scan, compare, write, report."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from horae import RunContext, clock
from horae.settings import load
from infra._scan import memory, sarif
from infra._scan.finding import Finding, NewFindings, ScanFailed, Severity
from infra._scan.scanning import Scan, scan
from infra._scan.settings import ScanSettings

SHOWN = 50
"""Findings, and things not seen, that a run lists. The SARIF file has all."""


def scan_all(
    run: RunContext, settings: ScanSettings, repos: Sequence[str] | None, accept: Sequence[str], dry_run: bool
) -> dict[str, Any]:
    """Scan every repository. Returns the result of the run; raises ScanFailed or NewFindings."""
    general = load(run.project)
    folder = run.project / settings.folder if settings.folder else general.state / "security"
    baseline_path = run.project / settings.baseline if settings.baseline else folder / "baseline.json"
    patterns = repos or settings.repos or general.repos
    with _locked(folder):
        before = memory.load(folder / "known.json")
        baseline = memory.load_baseline(baseline_path) or memory.new_baseline(before)
        at = clock.now()
        found = scan(run.project, patterns, settings, before, baseline, run.run_id, clock.isoformat(at), run.report)
        if accept:
            every = [known.finding for known in found.memory.findings.values()]
            baseline = memory.accept(baseline, accept, every)
            found.states.update(dict.fromkeys(found.states.keys() & baseline.accepted.keys(), "accepted"))
        if not dry_run:
            _write(found, folder, at, settings)
            memory.save_baseline(baseline, baseline_path)
            memory.save(
                found.memory, folder / "known.json"
            )  # last, so that a run that dies before it reports the same findings as new again
    return _conclude(run, found, folder, settings)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ScanFailed(f"another scan writes to {folder}; wait until it ends") from None
        for left in folder.glob("*.new"):  # of a scan that died
            left.unlink(missing_ok=True)
        yield


def _write(found: Scan, folder: Path, at: datetime, settings: ScanSettings) -> None:
    """The report under its own name and as latest.sarif, and the oldest ones removed."""
    text = json.dumps(sarif.report(found.outcomes, found.findings, found.states), indent=1)
    memory.write(folder / f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}.sarif", text)
    memory.write(folder / "latest.sarif", text)
    reports = sorted(folder.glob("[0-9]*T[0-9]*Z.sarif"))
    for old in reports[: -settings.keep_reports]:
        old.unlink(missing_ok=True)


def _conclude(run: RunContext, found: Scan, folder: Path, settings: ScanSettings) -> dict[str, Any]:
    """Report what was not seen, then what is new. Raises if a tool failed or a new finding is bad enough."""
    new = found.of("new")
    for sentence in found.failures:
        run.report(f"not scanned: {sentence}")
    for sentence in found.not_seen[:SHOWN]:
        run.report(f"not fully scanned: {sentence}")
    if found.first:
        known = found.by_severity("known")
        run.report(
            f"first scan of {', '.join(_repos(found))}: found {_counts(known)}, which count as known from now on"
        )
        for finding in [one for one in found.of("known") if _is_loud(one, settings)][:SHOWN]:
            run.report(f"known {finding.severity}: {finding.place}: {finding.rule}: {finding.message}")
    for finding in new[:SHOWN]:
        run.report(
            f"new {finding.severity}: {finding.place}: {finding.rule}: {finding.message} [{finding.fingerprint}]"
        )
    summary = (
        f"{len(new)} new, {len(found.of('known'))} known, {len(found.of('accepted'))} accepted, {found.fixed} fixed"
    )
    failed = f"{len(found.failures)} not scanned; " if found.failures else ""
    unseen = f"{len(found.not_seen)} not fully scanned; " if found.not_seen else ""
    run.report(failed + unseen + summary)
    if found.failures:
        raise ScanFailed(f"the scan is incomplete: {'; '.join(found.failures)}. The rest: {summary}")
    loud = [finding for finding in new if _is_loud(finding, settings)]
    if loud:
        worst = "; ".join(f"{one.severity} {one.rule} in {one.place}" for one in loud[:5])
        raise NewFindings(f"{len(loud)} new findings: {worst}. All are in {folder / 'latest.sarif'}")
    return {
        "not_seen": found.not_seen[:SHOWN],
        "looked_at": {f"{one.repo} {one.tool}": one.looked_at for one in found.outcomes},
        "new": [_shown(finding) for finding in new[:SHOWN]],
        "by_severity": {state: found.by_severity(state) for state in ("new", "known", "accepted")},
        "fixed": found.fixed,
        "report": str(folder / "latest.sarif"),
    }


def _is_loud(finding: Finding, settings: ScanSettings) -> bool:
    return settings.fail_at != "never" and finding.severity.rank <= Severity(settings.fail_at).rank


def _repos(found: Scan) -> list[str]:
    return list(dict.fromkeys(key.rpartition(" ")[0] for key in found.first))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{number} {severity}" for severity, number in counts.items()) or "nothing"


def _shown(finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity.value,
        "tool": finding.tool,
        "rule": finding.rule,
        "place": finding.place,
        "message": finding.message,
        "fingerprint": finding.fingerprint,
    }
