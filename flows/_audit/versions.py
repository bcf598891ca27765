"""The order of versions: PEP 440 for PyPI, SemVer for npm, Go and crates.io."""

import re
from typing import Any

from flows._audit.package import Ecosystem

SEMVER = re.compile(
    r"v?(?P<core>\d+(?:\.\d+){0,2})(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$",
)


def key(ecosystem: Ecosystem, version: str) -> Any:
    """A sort key for a version in this ecosystem; raises ValueError if the version cannot be parsed.

    `0` sorts before every version, as in the events of OSV.
    """
    if version == "0":
        return _Least()
    if ecosystem is Ecosystem.PYPI:
        from packaging.version import Version

        return Version(version)
    found = SEMVER.match(version.strip())
    if not found:
        raise ValueError(f"{version!r} is not a version of {ecosystem}")
    core = [int(part) for part in found["core"].split(".")]
    # A version sorts after all its pre-releases; numbers sort before words.
    pre = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in (found["pre"] or "").split(".") if part]
    return (*core, *[0] * (3 - len(core)), not pre, pre)


def is_prerelease(ecosystem: Ecosystem, version: str) -> bool:
    """Whether a version is a pre-release or cannot be parsed."""
    try:
        found = key(ecosystem, version)
    except ValueError:
        return True
    return bool(found.is_prerelease) if ecosystem is Ecosystem.PYPI else not found[3]


class _Least:
    """Before every version."""

    def __lt__(self, other: object) -> bool:
        return not isinstance(other, _Least)

    def __gt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return True

    def __ge__(self, other: object) -> bool:
        return isinstance(other, _Least)
