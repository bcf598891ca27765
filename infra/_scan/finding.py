"""What a tool found, and what it could not look at."""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from horae.errors import RunError


class ScanFailed(RunError):
    """The scan is not complete."""


class NewFindings(RunError):
    """The scan found something new."""


class Severity(StrEnum):
    """The worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    tool: str
    rule: str
    severity: Severity
    repo: str
    path: str
    """Within the repository."""
    line: int
    """From 1; 0 where there is none."""
    message: str
    """Never holds a secret."""
    identity: str = field(repr=False)
    """Tells this finding from all others, in all scans. It holds no line number."""
    commit: str = ""
    """The commit of a finding in the history."""

    @property
    def fingerprint(self) -> str:
        text = "\0".join((self.tool, self.rule, self.repo, self.identity))
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:24]

    @property
    def place(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.repo}/{self.path}{line}" + (f" (commit {self.commit[:12]})" if self.commit else "")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"severity": self.severity.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Finding":
        return cls(**values | {"severity": Severity(values["severity"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one tool did in one repository."""

    tool: str
    repo: str
    findings: tuple[Finding, ...] = ()
    looked_at: int = 0
    """Files, or commits of the history."""
    not_seen: tuple[str, ...] = ()
    """What it left out, a sentence each."""
    failure: str | None = None
    """Why it did not finish. Its findings are then incomplete."""


def veiled(text: str, salt: str) -> str:
    """A checksum that tells one text from another, and does not give it away."""
    return hmac.new(salt.encode(), text.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]


def numbered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Give findings that would share an identity one of their own: a second line with the same text is a second
    finding."""
    seen: dict[str, int] = {}
    told_apart = []
    for finding in findings:
        count = seen[finding.fingerprint] = seen.get(finding.fingerprint, 0) + 1
        told_apart.append(finding if count == 1 else replace(finding, identity=f"{finding.identity}\0{count}"))
    return tuple(told_apart)
