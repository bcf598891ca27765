"""One entry of a log, whatever format it was written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from infra._logs.levels import UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    format: str
    """`json`, `logfmt`, `access`, `syslog`; `text` begins with a timestamp or a level; `plain` is all other text."""
    message: str
    level: str = UNKNOWN
    at: datetime | None = None
    """In UTC; None if the line has no time."""
    logger: str = ""
    traceback: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of a structured entry."""

    @property
    def one_line(self) -> bool:
        """Whether one line is the whole entry."""
        return self.format in ("json", "logfmt", "access")
