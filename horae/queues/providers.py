"""All providers: each file or folder of this package that is named after a broker exports one."""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from horae import queues
from horae.errors import UnknownName

if TYPE_CHECKING:  # the rules of `horae check` and `horae decide` need only the names
    from horae.queues.base import Provider

SEAM = frozenset(
    {
        "access",
        "base",
        "closing",
        "configured",
        "decoding",
        "opened",
        "priorities",
        "providers",
        "ready",
        "reopening",
        "routing",
    }
)
"""Files of this package that are not providers."""


@cache
def names() -> tuple[str, ...]:
    """The names of all providers, sorted. Imports no provider."""
    return tuple(sorted(found.name for found in iter_modules(queues.__path__) if found.name not in SEAM))


def choice() -> str:
    """The names as part of a sentence: `a, b or c`."""
    *first, last = names()
    return f"{', '.join(first)} or {last}" if first else last


@cache
def provider(name: str) -> "Provider[Any, Any]":
    """The provider of that name. Raises UnknownName."""
    if name not in names():
        raise UnknownName("queue provider", name, names())
    found: Provider[Any, Any] = import_module(f"{queues.__name__}.{name}").PROVIDER
    return found
