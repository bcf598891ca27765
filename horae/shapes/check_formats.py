"""Machine-readable findings: annotations of a GitHub workflow, and SARIF 2.1.0."""

from collections.abc import Sequence
from typing import Any

from horae.findings import Finding, Level

ANNOTATED = {Level.HINT: "notice"}
"""Where GitHub has another word."""
SARIF_LEVELS = {Level.HINT: "note"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def annotation(finding: Finding) -> str:
    """A workflow command: `::error file=infra/x.py,line=3,title=HR401::…`."""
    properties = {"file": finding.file, "line": finding.line, "title": finding.code}
    given = ",".join(f"{key}={_property(str(value))}" for key, value in properties.items() if value is not None)
    level = ANNOTATED.get(finding.level, finding.level.value)
    return f"::{level} {given}::{_data(f'{finding.message}. {finding.remedy}')}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    """A SARIF log with one run. It describes every rule that has a finding."""
    from importlib.metadata import version

    from horae.checks.reference import all_rules

    known = {rule.code: rule for rule in all_rules()}
    codes = sorted({finding.code for finding in findings})
    rules = [
        {
            "id": code,
            "shortDescription": {"text": known[code].says},
            "help": {"text": known[code].remedy},
            "defaultConfiguration": {"level": SARIF_LEVELS.get(known[code].level, known[code].level.value)},
        }
        for code in codes
    ]
    driver = {"name": "horae", "semanticVersion": version("horae"), "rules": rules}
    results = [_result(finding, codes.index(finding.code)) for finding in findings]
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _result(finding: Finding, rule: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": rule,
        "level": SARIF_LEVELS.get(finding.level, finding.level.value),
        "message": {"text": f"{finding.message}. {finding.remedy}"},
    }
    if finding.file:
        place = {"artifactLocation": {"uri": finding.file, "uriBaseId": "%SRCROOT%"}}
        region = {"region": {"startLine": finding.line}} if finding.line else {}
        result["locations"] = [{"physicalLocation": place | region}]
    return result
