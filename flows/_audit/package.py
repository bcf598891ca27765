"""A package at one version, in its ecosystem."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from horae.errors import HoraeError


class MissingExtra(HoraeError):
    """The libraries of the dependency audit are not installed."""


class Ecosystem(StrEnum):
    """A source of packages. The value is OSV's name for it."""

    PYPI = "PyPI"
    NPM = "npm"
    GO = "Go"
    CRATES = "crates.io"


PURL_TYPES = {Ecosystem.PYPI: "pypi", Ecosystem.NPM: "npm", Ecosystem.GO: "golang", Ecosystem.CRATES: "cargo"}


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Package:
    """A package at one version. Build one with `package`, which normalises the name."""

    ecosystem: Ecosystem
    name: str
    version: str
    """The version as in the lock file; Go versions keep their `v`."""

    @property
    def purl(self) -> str:
        """The package URL, such as `pkg:npm/%40babel/core@7.1.0`."""
        version = quote(self.version, safe=".-_~:")
        return f"pkg:{PURL_TYPES[self.ecosystem]}/{quote(self.name, safe='/.-_~')}@{version}"

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


def package(ecosystem: Ecosystem, name: str, version: str) -> Package:
    return Package(ecosystem=ecosystem, name=normalised(ecosystem, name), version=version)


def normalised(ecosystem: str, name: str) -> str:
    """Python names ignore case and separators (PEP 503); all other names are used as written."""
    return re.sub(r"[-_.]+", "-", name).lower() if ecosystem == Ecosystem.PYPI else name


def require_extra() -> None:
    """Raise MissingExtra if a library of the audit cannot be imported."""
    try:
        import cvss  # noqa: F401
        import cyclonedx  # noqa: F401
        import packaging  # noqa: F401
        import pip_audit  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"dependency-audit needs {error.name}, which is not installed; install the extra with pip install "
            "'horae[audit]' or uv sync --extra audit"
        ) from error
