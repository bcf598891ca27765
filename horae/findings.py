"""Rules and findings. A finding reports that a job, a file or a set of traits breaks a rule.

Each rule is defined in the package that checks it. `docs/reference/checks.md` is generated from all rules.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    ERROR = "error"
    """`horae check` fails."""
    WARNING = "warning"
    """Something may go wrong; the check still passes."""
    HINT = "hint"
    """Nothing is wrong; a declaration or another choice would improve the job."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    code: str
    """Stable, `HR` and three digits; listed in docs/reference/checks.md."""
    level: Level
    message: str
    """What is wrong, in a sentence that names what was given."""
    remedy: str
    """What to do about it."""
    job: str | None = None
    file: str | None = None
    """Relative to the project."""
    line: int | None = None
    """Counted from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a job is declared."""

    file: str
    """Relative to the project."""
    line: int


ERROR, WARNING, HINT = Level.ERROR, Level.WARNING, Level.HINT
LONGEST = 1_000
"""Characters of a message. What it names may be much longer, such as a value in a file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """A stable code, a level, a sentence and a remedy."""

    code: str
    level: Level
    says: str
    """What is wrong, in a clause that holds for every finding of the rule."""
    remedy: str
    line: str = ""
    """The line of the specification's checklist or common mistakes that this rule implements."""

    def finding(self, message: str, *, job: str | None = None, at: Source | None = None, remedy: str = "") -> Finding:
        """A finding of this rule at one place."""
        file, line = (at.file or None, at.line) if at else (None, None)
        chosen = remedy or self.remedy
        if len(message) > LONGEST:
            message = f"{message[:LONGEST]}… ({len(message)} characters)"
        return Finding(code=self.code, level=self.level, message=message, remedy=chosen, job=job, file=file, line=line)
