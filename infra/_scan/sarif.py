"""SARIF 2.1.0: the report that code hosts and editors read."""

import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from infra._scan.finding import Finding, Outcome, Severity

LEVELS = {Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
SCORES = {Severity.CRITICAL: "9.5", Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
"""`security-severity`, as GitHub sorts by."""
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report(outcomes: Sequence[Outcome], findings: Sequence[Finding], states: Mapping[str, str]) -> dict[str, Any]:
    """One SARIF run for each tool. `states`: of each fingerprint, `new`, `known` or `accepted`."""
    tools = list(dict.fromkeys(outcome.tool for outcome in outcomes))
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            _run(
                tool,
                [outcome for outcome in outcomes if outcome.tool == tool],
                [finding for finding in findings if finding.tool == tool],
                states,
            )
            for tool in tools
        ],
    }


def _run(
    tool: str, outcomes: Sequence[Outcome], findings: Sequence[Finding], states: Mapping[str, str]
) -> dict[str, Any]:
    rules = sorted({finding.rule for finding in findings})
    notes = [("error", f"{one.repo}: {one.failure}") for one in outcomes if one.failure]
    notes += [("warning", f"{one.repo}: not scanned: {sentence}") for one in outcomes for sentence in one.not_seen]
    return {
        "tool": {
            "driver": {
                "name": f"horae {tool}",
                "rules": [{"id": rule, "properties": {"tags": ["security"]}} for rule in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not any(one.failure for one in outcomes),
                "toolExecutionNotifications": [{"level": level, "message": {"text": text}} for level, text in notes],
            }
        ],
        "results": [_result(finding, states[finding.fingerprint]) for finding in findings],
    }


def _result(finding: Finding, state: str) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding)}}
    if finding.line:
        place["region"] = {"startLine": finding.line}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "level": LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"horae/v1": finding.fingerprint},
        "baselineState": "new" if state == "new" else "unchanged",
        "properties": {
            "severity": finding.severity.value,
            "security-severity": SCORES[finding.severity],
            "repository": finding.repo,
        },
    }
    if finding.commit:
        result["properties"]["commit"] = finding.commit
    if state == "accepted":
        result["suppressions"] = [{"kind": "external", "status": "accepted"}]
    return result


def _uri(finding: Finding) -> str:
    return quote(os.fsencode(finding.path))  # a name need not be UTF-8
