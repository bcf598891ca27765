"""The result of importing a job file in its own process."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True, slots=True)
class Probed:
    ended: bool = True
    """Whether the import finished, with or without an exception."""
    why: str = ""
    """Why the import did not finish."""
    took: timedelta | None = None
    """How long the import took, if it finished."""
    effects: tuple[str, ...] = ()
    """Side effects of the import on its process, such as "prints"."""


UNPROBED: Mapping[str, Probed] = MappingProxyType({})
