"""The content of one lock file or manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flows._audit.package import Package


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    packages: tuple[Package, ...]
    unread: tuple[str, ...] = ()
    """A sentence for each dependency without a known version."""
    licences: Mapping[Package, str] = field(default_factory=dict)
    """Licences, if the file has them."""
