"""The addresses of the parts of `horae up`, in `.horae/run/endpoints.json`. The file exists while `horae up` runs."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from horae.files import private_folder, written_whole

FILE = Path("run/endpoints.json")


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    pid: int
    """The process id of `horae up`."""
    store_url: str | None = field(default=None, repr=False)
    store_access: dict[str, str | bool] = field(default_factory=dict, repr=False)
    """The settings of `[store]` that belong to the URL: user, password, certificates."""
    prefect_api_url: str | None = None
    sidecar_url: str | None = None
    """The base URL of /health and /metrics."""
    worker_url: str | None = None
    jobs: Sequence[str] | None = None
    """The names that its processes have read, or are about to."""

    def write(self, state: Path) -> None:
        """Write the file atomically, readable only by its owner, because it may contain a password."""
        path = state / FILE
        private_folder(path.parent)
        with written_whole(path) as file:
            json.dump(asdict(self), file, indent=2)


def read(state: Path) -> Endpoints | None:
    """The endpoints of the running `horae up`; None if none runs. A file that a dead one left is ignored."""
    try:
        found = json.loads((state / FILE).read_text())
        known = {name.name for name in fields(Endpoints)}
        endpoints = Endpoints(**{key: value for key, value in found.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return endpoints if _lives(endpoints.pid) else None


def remove(state: Path) -> None:
    (state / FILE).unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
