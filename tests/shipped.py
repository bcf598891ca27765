"""What the project itself ships: the files that git tracks. What a user wrote beside them changes no test."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
USERS_WRITE = ("horae.toml", "prefect.yaml")
"""Files of the project that a user adds to: taken as they were last staged, so that additions do not count."""


def ship(folder: Path, *under: str) -> Path:
    """Copy the tracked files below these paths (none: all of them) into `folder`, as they are in the working tree."""
    for name in tracked(*under):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
            if name in USERS_WRITE:
                (folder / name).write_bytes(_git("show", f":{name}"))
    return folder


def tracked(*under: str) -> list[str]:
    """Names relative to the project, sorted."""
    return sorted(name for name in _git("ls-files", "-z", "--", *under).decode().split("\0") if name)


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True).stdout
