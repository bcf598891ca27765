"""Python code, looked at by bandit.

Bandit ends with 0 and says nothing where it skipped a file. So each file that it was given must be in its answer.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from infra._scan.finding import Finding, Outcome, ScanFailed, Severity, numbered
from infra._scan.repository import Repository

TOOL = "bandit"
CHUNK = 200
"""Files of one call: a command line has a limit."""
LEVELS = {"HIGH": Severity.HIGH, "MEDIUM": Severity.MEDIUM, "LOW": Severity.LOW}


def scan(repository: Repository, skip: Sequence[str], timeout_seconds: float) -> Outcome:
    files = [name for name in repository.files if name.endswith((".py", ".pyi"))]
    if find_spec("bandit") is None:
        return Outcome(
            tool=TOOL,
            repo=repository.name,
            failure="bandit is not installed; install it with: pip install 'horae[scan]'",
        )
    findings: list[Finding] = []
    not_seen: list[str] = []
    looked_at = 0
    for start in range(0, len(files), CHUNK):
        chunk = files[start : start + CHUNK]
        try:
            answer = _bandit(repository.path, chunk, skip, timeout_seconds)
            findings += [_finding(one, repository) for one in answer["results"]]
            errors = {_within(one["filename"]): one["reason"] for one in answer["errors"]}
            measured = {_within(name) for name in answer["metrics"] if name != "_totals"}
        except ScanFailed as error:
            return Outcome(tool=TOOL, repo=repository.name, looked_at=looked_at, failure=error.message)
        except (KeyError, TypeError) as error:
            said = f"bandit's answer has an unexpected form: {error!r}"
            return Outcome(tool=TOOL, repo=repository.name, looked_at=looked_at, failure=said)
        not_seen += [f"{name} cannot be parsed by bandit: {why}" for name, why in sorted(errors.items())]
        skipped = [name for name in chunk if name not in measured and name not in errors]
        not_seen += [f"bandit skipped {name}" for name in skipped]
        looked_at += len(chunk) - len(errors) - len(skipped)
    return Outcome(
        tool=TOOL,
        repo=repository.name,
        findings=numbered(findings),
        looked_at=looked_at,
        not_seen=tuple(not_seen),
    )


def _bandit(folder: Path, files: Sequence[str], skip: Sequence[str], timeout_seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", "bandit", "--quiet", "--format", "json", "--exit-zero"]
    # -P: a file bandit.py of the repository must not run.
    command += ["--skip", ",".join(skip)] if skip else []
    try:
        done = subprocess.run(
            [*command, *(f"./{name}" for name in files)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ScanFailed(f"bandit took longer than {timeout_seconds:g} s (tool_timeout_seconds)") from None
    said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if done.returncode or not isinstance(answer, dict):
        last = said[-1] if said else "nothing"
        raise ScanFailed(f"bandit ended with status {done.returncode} and no result. Its last output: {last}")
    return answer


def _finding(one: dict[str, Any], repository: Repository) -> Finding:
    path = _within(one["filename"])
    try:
        lines = (repository.path / path).read_text(errors="replace").splitlines()
        text = lines[one["line_number"] - 1].strip()
    except (OSError, IndexError):
        text = one["issue_text"]
    severity = LEVELS[one["issue_severity"]]
    return Finding(
        tool=TOOL,
        rule=one["test_id"],
        severity=Severity.LOW if one["issue_confidence"] == "LOW" else severity,
        repo=repository.name,
        path=path,
        line=one["line_number"],
        message=one["issue_text"] if one["test_id"] not in ("B105", "B106", "B107") else "a hard-coded password",
        identity=f"{path}\0{text}",
    )


def _within(name: str) -> str:
    return os.path.normpath(name)
