"""One scan: every tool in every repository, and what is new since the last one."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra._scan import container_files, history, permissions, python_code, secrets
from infra._scan.finding import Finding, Outcome, ScanFailed, Severity, veiled
from infra._scan.memory import Baseline, Memory, keep
from infra._scan.repository import Repository, discover, opened
from infra._scan.secret_rules import search
from infra._scan.settings import ScanSettings

OPEN = "repository"
"""Name of the step that opens a repository. If it fails, no tool runs there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scan:
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    """All that are open or accepted, the worst first."""
    states: dict[str, str]
    """Of each fingerprint: `new`, `known` or `accepted`."""
    memory: Memory
    """What the next scan has to know."""
    fixed: int
    first: tuple[str, ...]
    """Repositories with a tool that finished there for the first time. Its findings count as known, not as new."""

    def of(self, state: str) -> list[Finding]:
        return [finding for finding in self.findings if self.states[finding.fingerprint] == state]

    def by_severity(self, state: str) -> dict[str, int]:
        counts = Counter(finding.severity for finding in self.of(state))
        return {severity.value: counts[severity] for severity in Severity if counts[severity]}

    @property
    def failures(self) -> list[str]:
        return [f"{one.repo}: {one.tool}: {one.failure}" for one in self.outcomes if one.failure]

    @property
    def not_seen(self) -> list[str]:
        return [f"{one.repo}: {one.tool}: {sentence}" for one in self.outcomes for sentence in one.not_seen]


def scan(
    project: Path,
    patterns: Sequence[str],
    settings: ScanSettings,
    before: Memory,
    baseline: Baseline,
    run_id: str,
    at: str,
    report: Callable[[str], None],
) -> Scan:
    """Scan every repository. A failure becomes an outcome and does not stop the others."""
    outcomes: list[Outcome] = []
    tips = dict(before.tips)
    gone: list[str] = []
    for name, path in discover(project, patterns):
        report(f"{name}: scanning")
        try:
            repository = opened(name, path, settings.exclude, settings.tool_timeout_seconds)
        except ScanFailed as error:
            outcomes.append(Outcome(tool=OPEN, repo=name, failure=error.message))
            continue
        outcomes.append(Outcome(tool=OPEN, repo=name, looked_at=len(repository.files), not_seen=_left_out(repository)))
        outcomes += _tools(repository, settings, baseline.salt)
        searched = _history(repository, before.tips.get(name, ()), baseline.salt, settings.tool_timeout_seconds)
        outcomes.append(searched.outcome)
        if searched.tips:
            tips[name] = tuple(searched.tips)
        if searched.outcome.failure is None:
            gone += _rewritten(repository, before, settings.tool_timeout_seconds)
    outcomes = [_without_secrets(outcome, baseline.salt) for outcome in outcomes]
    memory = replace(keep(outcomes, before, gone, run_id, at), tips=tips, salt=baseline.salt)
    return _judged(outcomes, before, memory, baseline, run_id)


def _without_secrets(outcome: Outcome, salt: str) -> Outcome:
    """Remove secrets that a tool quotes from a file: identities become checksums, and a message with a secret is
    replaced."""
    safe = [
        replace(
            finding,
            identity=veiled(finding.identity, salt),
            message=finding.message
            if not any(search(finding.message))
            else "its text is left out, because it contains a secret",
        )
        for finding in outcome.findings
    ]
    return replace(outcome, findings=tuple(safe))


def _tools(repository: Repository, settings: ScanSettings, salt: str) -> list[Outcome]:
    limit = settings.file_limit_mib << 20
    tools: dict[str, Callable[[], Outcome]] = {
        python_code.TOOL: lambda: python_code.scan(repository, settings.bandit_skip, settings.tool_timeout_seconds),
        secrets.TOOL: lambda: secrets.scan(repository, salt, limit),
        permissions.TOOL: lambda: permissions.scan(repository),
        container_files.TOOL: lambda: container_files.scan(repository),
    }
    found = []
    for name, tool in tools.items():
        try:
            found.append(tool())
        except Exception as error:  # whatever it was: no result is not the same as no findings
            found.append(Outcome(tool=name, repo=repository.name, failure=f"{type(error).__name__}: {error}"))
    return found


def _history(repository: Repository, since: Sequence[str], salt: str, timeout_seconds: float) -> history.Searched:
    try:
        return history.scan(repository, since, salt, timeout_seconds)
    except Exception as error:  # as for the other tools
        failure = f"{type(error).__name__}: {error}"
        return history.Searched(outcome=Outcome(tool=history.TOOL, repo=repository.name, failure=failure))


def _left_out(repository: Repository) -> tuple[str, ...]:
    excluded = f"`exclude` leaves out {repository.excluded} files"
    return (*repository.not_seen, *([excluded] if repository.excluded else []))


def _rewritten(repository: Repository, before: Memory, timeout_seconds: float) -> list[str]:
    """Known findings whose commit no branch, tag or stash contains any more."""
    known = {
        fingerprint: one.finding.commit
        for fingerprint, one in before.findings.items()
        if one.finding.repo == repository.name and one.finding.commit
    }
    there = {commit: history.still_there(repository, commit, timeout_seconds) for commit in set(known.values())}
    return [fingerprint for fingerprint, commit in known.items() if not there[commit]]


def _judged(outcomes: list[Outcome], before: Memory, memory: Memory, baseline: Baseline, run_id: str) -> Scan:
    first = [key for key, run in memory.finished.items() if run == run_id]
    states: dict[str, str] = {}
    for fingerprint, known in memory.findings.items():
        begun = f"{known.finding.repo} {known.finding.tool}" in first
        if fingerprint in baseline.accepted:
            states[fingerprint] = "accepted"
        else:
            states[fingerprint] = "new" if known.first_run == run_id and not begun else "known"
    scanned = {one.repo for one in outcomes}
    current = [known.finding for known in memory.findings.values() if known.finding.repo in scanned]
    in_files = {(one.repo, one.rule, one.identity) for one in current if not one.commit}
    shown = [one for one in current if not one.commit or (one.repo, one.rule, one.identity) not in in_files]
    return Scan(
        outcomes=tuple(outcomes),
        findings=tuple(sorted(shown, key=lambda one: (one.severity.rank, one.repo, one.path, one.line))),
        states=states,
        memory=memory,
        fixed=len(before.findings.keys() - memory.findings.keys()),
        first=tuple(first),
    )
