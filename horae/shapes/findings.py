"""The JSON of findings: `horae check` and `horae decide`. Documented in docs/reference/json.md."""

from typing import Any

from horae.findings import Finding


def finding_shape(finding: Finding) -> dict[str, Any]:
    """The JSON of a finding in `horae check`."""
    return {
        "code": finding.code,
        "level": finding.level.value,
        "job": finding.job,
        "file": finding.file,
        "line": finding.line,
        "message": finding.message,
        "remedy": finding.remedy,
    }


def review_shape(finding: Finding) -> dict[str, Any]:
    """The JSON of a finding in `horae decide`, about a job that no file declares yet."""
    whole = finding_shape(finding)
    return {key: whole[key] for key in ("code", "level", "message", "remedy")}
