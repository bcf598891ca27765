"""Errors of the job. Each message has the cause and the remedy, and no password."""

from horae.errors import HoraeError


class MissingExtra(HoraeError):
    """The libraries of the job are not installed."""


class UnreadableSource(HoraeError):
    """This source cannot be read."""


class SourceUnavailable(UnreadableSource):
    """This source does not answer now; a retry may succeed."""


class WarehouseRefused(HoraeError):
    """The warehouse cannot be used as it is configured."""


class WarehouseUnavailable(HoraeError):
    """The warehouse does not answer now; a retry may succeed."""


class LoadFailed(HoraeError):
    """The rows could not be loaded."""


class NothingLoaded(HoraeError):
    """No source could be read."""


class NotReconciled(HoraeError):
    """The warehouse has other rows than the sources."""


def require_extra() -> None:
    """Raise MissingExtra if a library of the job cannot be imported. Importing dlt takes two seconds."""
    from importlib.util import find_spec

    for name in ("dlt", "duckdb", "psycopg2"):
        try:
            missing = find_spec(name) is None
        except ValueError:  # a module that was blocked
            missing = True
        if missing:
            raise MissingExtra(
                f"etl needs {name}, which is not installed; install the extra: "
                "pip install 'horae[etl]', or uv sync --extra etl"
            )
