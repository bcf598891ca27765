"""A finding: something that a check has to say about a job, a file or a set of traits."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    ERROR = "error"
    """The answer of `horae check` is no."""
    WARNING = "warning"
    """Worth a look; the check still passes."""


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

    def as_dict(self) -> dict[str, str | int | None]:
        """The shape that `horae check --json` prints."""
        found = asdict(self)
        return {key: found[key] for key in ("code", "level", "job", "file", "line", "message", "remedy")}
