"""Where the parts of a running `horae up` can be reached: `.horae/run/endpoints.json`, there while it runs."""

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
    """Of `horae up`."""
    store_url: str | None = field(default=None, repr=False)
    store_access: dict[str, str | bool] = field(default_factory=dict, repr=False)
    """What of `[store]` belongs to its URL: user, password, certificates."""
    prefect_api_url: str | None = None
    sidecar_url: str | None = None
    """Base of /health and /metrics."""
    worker_url: str | None = None
    jobs: Sequence[str] | None = None
    """The names that its processes have read, or are about to."""

    def write(self, state: Path) -> None:
        """Put it in place in one step, readable by the owner alone: there may be a password in it."""
        path = state / FILE
        private_folder(path.parent)
        with written_whole(path) as file:
            json.dump(asdict(self), file, indent=2)


def read(state: Path) -> Endpoints | None:
    """What a running `horae up` wrote; None if there is none, or it died without taking it away."""
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
