"""Whether the values of a context are what a job's function takes, by its annotations."""

import json
import typing
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from horae.errors import InvalidJob

SHOWN = 60
"""Characters of a value in a message."""


def check_values(job: str, function: Callable[..., Any], context: Mapping[str, Any]) -> None:
    """Refuse values that no JSON value of the annotated type can be; raises InvalidJob for the first.

    A context travels as JSON, so a list is good for a tuple or a set, and a text for a path or a datetime. What has no
    annotation, or one that pydantic does not know, takes anything.
    """
    from pydantic import ValidationError

    for key, value in context.items():
        known = _adapters(function).get(key)
        text = _json(value)
        if known is None or text is None:
            continue
        annotation, adapter = known
        try:
            adapter.validate_json(text, strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise InvalidJob(_sentence(job, key, annotation, text, first["loc"], first["msg"])) from None


def _sentence(job: str, key: str, annotation: Any, text: str, at: tuple[int | str, ...], said: str) -> str:
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    place = "".join(f"[{part!r}]" for part in at if not str(part).startswith("function-"))
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    quoted = f"; on the command line a text is --context {key}='{json.dumps(text)}'" if annotation is str else ""
    return f"job {job!r}: context {key}{place} = {shown} does not fit {key}: {name} ({said}){quoted}"


@lru_cache(maxsize=256)
def _adapters(function: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """By parameter the annotation and how to check it."""
    from pydantic import TypeAdapter

    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except Exception:
        return {}  # an annotation that names what is not there; Python runs the function all the same
    found: dict[str, tuple[Any, Any]] = {}
    for name, annotation in hints.items():
        if name == "return":
            continue
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        except Exception:
            continue  # a class that pydantic has no schema for, or that raises when it is asked for one
        found[name] = (annotation, adapter)
    return found


def _json(value: Any) -> str | None:
    """None for what JSON cannot hold: that is refused where the message is written."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return None
