"""Reads licences of packages from an installed environment or a registry's metadata, and finds flagged ones."""

import re
from collections.abc import Iterable
from email.parser import HeaderParser
from fnmatch import fnmatch
from pathlib import Path

from flows._audit.package import Ecosystem, Package, normalised

CLASSIFIERS = {
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Apache Software License": "Apache-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
    "zlib/libpng License": "Zlib",
    "GNU General Public License (GPL)": "GPL",
    "GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "GNU General Public License v2 or later (GPLv2+)": "GPL-2.0-or-later",
    "GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "GNU Affero General Public License v3": "AGPL-3.0-only",
    "GNU Affero General Public License v3 or later (AGPLv3+)": "AGPL-3.0-or-later",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.0-or-later",
    "GNU Lesser General Public License v3 (LGPLv3)": "LGPL-3.0-only",
    "GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
}
LONGEST = 60
"""Characters. A longer `License` field is the text of a licence, not its name."""


def of_metadata(text: str) -> str | None:
    """The licence that Python's core metadata declare: the expression, else the classifiers, else a short name."""
    headers = HeaderParser().parsestr(text.partition("\n\n")[0])
    if expression := headers.get("License-Expression"):
        return str(expression)
    marks = [line.rpartition(" :: ")[2] for line in headers.get_all("Classifier", []) if line.startswith("License ::")]
    known = [CLASSIFIERS.get(mark, mark) for mark in marks if mark != "OSI Approved"]
    if known:
        return " AND ".join(dict.fromkeys(known))
    name = " ".join(str(headers.get("License", "")).split())
    return name if name and name != "UNKNOWN" and len(name) <= LONGEST else None


def of_environment(repository: Path, packages: Iterable[Package]) -> dict[Package, str]:
    """Licences of the Python packages that are installed in the repository's own `.venv`, at the same version."""
    wanted = {(one.name, one.version): one for one in packages if one.ecosystem is Ecosystem.PYPI}
    found = {}
    for folder in repository.glob(".venv/lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
        package = wanted.get((normalised(Ecosystem.PYPI, name), version))
        metadata = folder / "METADATA"
        if package is None or not metadata.is_file():
            continue
        if licence := of_metadata(metadata.read_text(errors="replace")):
            found[package] = licence
    return found


def is_flagged(expression: str, flagged: Iterable[str]) -> bool:
    """Whether every choice of a licence expression has a flagged licence. `flagged`: patterns such as `AGPL-*`.

    "MIT OR GPL-3.0-only" allows a choice; "MIT AND GPL-3.0-only" requires both.
    """
    patterns = [pattern.lower() for pattern in flagged]

    def hits(part: str) -> bool:
        names = re.findall(r"[A-Za-z0-9.+-]+", part)
        return any(fnmatch(name.lower(), pattern) for name in names for pattern in patterns)

    return all(hits(choice) for choice in re.split(r"\s+OR\s+", expression.strip(" ()")))
