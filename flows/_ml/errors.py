"""Errors for wrong input. Each message has the given value, the allowed values and the remedy."""

from horae.errors import HoraeError


class InvalidDataset(HoraeError):
    """This data set cannot be trained on."""


class Leak(InvalidDataset):
    """The target leaks into the features."""


class MissingExtra(HoraeError):
    """The libraries of the pipeline are not installed."""


def require_extra() -> None:
    """Raise MissingExtra if a library of the pipeline cannot be imported."""
    try:
        import matplotlib  # noqa: F401
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401
        import sklearn  # noqa: F401
        import skops  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            f"ml-pipeline needs {error.name}, which is not installed; install the extra with pip install "
            "'horae[ml]', or in a checkout of Horae with `make setup EXTRAS=ml`"
        ) from error
