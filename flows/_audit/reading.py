"""What one lock file or manifest says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows._audit.package import Package


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    packages: tuple[Package, ...]
    unread: tuple[str, ...] = ()
    """A sentence for each dependency of which no version can be told."""
    licences: Mapping[Package, str] = field(default_factory=dict)
    """Where the file names them."""
