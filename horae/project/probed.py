"""What was seen of a job file when a process of its own imported it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    ended: bool = True
    """The import came to its end, well or with an exception."""
    why: str = ""
    """Why it did not."""
    took: timedelta | None = None
    """How long it took, where it came to its end."""
    effects: tuple[str, ...] = ()
    """What it did to its process beside declaring a job, such as "prints"."""


UNPROBED: Mapping[str, Probed] = MappingProxyType({})
