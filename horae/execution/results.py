"""What is kept of what a job leaves: its result, and the words of its exception. This never raises."""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from horae.clock import isoformat
from horae.execution.lines import sound

RESULT_LIMIT_CHARACTERS = 16_000
NAME_LIMIT_CHARACTERS = 200
"""Of the name of a class."""
KINDS_LIMIT = 50
ITSELF = (str, int, bool, type(None))
"""Values of exactly these classes are JSON, and nothing of the job's is called when they are looked at."""
_class_name = type.__dict__["__name__"].__get__
_bases = type.__dict__["__mro__"].__get__


def summary(result: Any) -> Any:
    """What the ledger keeps of a result: small JSON made of plain values, or a note.

    A value that JSON does not have becomes text on its own: an instant in ISO 8601, a Decimal as its digits, anything
    else as its `repr`.
    """
    if result is None:
        return None
    try:
        text = _json(result)
        if len(text) > RESULT_LIMIT_CHARACTERS:
            return f"a result of {len(text)} characters exceeds the limit of {RESULT_LIMIT_CHARACTERS}"
        return json.loads(text.encode(errors="replace"))
    except BaseException:  # its values may do anything when they are looked at
        return _shown(result)


def _json(result: Any) -> str:
    try:
        return json.dumps(result, ensure_ascii=False, allow_nan=False)
    except Exception:
        return json.dumps(_plain(result), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """The same with text for what JSON does not have; raises RecursionError for a value that contains itself."""
    if type(value) in ITSELF:
        return value
    if isinstance(value, Mapping):
        return {key if type(key) in ITSELF else _text(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, int | str):  # a subclass, such as an enum's member
        return json.loads(json.dumps(value))
    return _text(value)


def _text(value: Any) -> str:
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return isoformat(value)
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal | str) else _shown(value)


def words_of(error: BaseException) -> str:
    """`str(error)`, or that there is none."""
    try:
        return sound(str(error))
    except BaseException:
        return f"a {name_of(error)} whose text cannot be read"


def name_of(value: Any) -> str:
    """The name of its class, as it was defined; a metaclass has no say in it."""
    return _cut_name(type(value))


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """The names of the exception's class and its bases, for `Retry.not_on`."""
    kinds = _bases(type(error))[:KINDS_LIMIT]
    return tuple(_cut_name(kind) for kind in kinds if kind is not object and kind is not BaseException)


def _cut_name(kind: type) -> str:
    return sound(_class_name(kind))[:NAME_LIMIT_CHARACTERS]


def _shown(result: Any) -> str:
    try:
        return sound(repr(result))[:RESULT_LIMIT_CHARACTERS]
    except BaseException:
        return f"a {name_of(result)} whose text cannot be read"
