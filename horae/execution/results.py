"""What is kept of what a job leaves: its result, and the words of its exception. This never raises."""

import json
from typing import Any

from horae.execution.lines import sound

RESULT_LIMIT_CHARACTERS = 16_000


def summary(result: Any) -> Any:
    """What the ledger keeps of a result: small JSON, or a note."""
    if result is None:
        return None
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False)
    except Exception:  # its values may do anything when they are looked at
        return _shown(result)
    if len(text) > RESULT_LIMIT_CHARACTERS:
        return f"a result of {len(text)} characters is over the limit of {RESULT_LIMIT_CHARACTERS}"
    return result if sound(text) == text else json.loads(text.encode(errors="replace"))


def words_of(error: BaseException) -> str:
    """`str(error)`, or that there is none."""
    try:
        return sound(str(error))
    except Exception:
        return f"a {type(error).__name__} that cannot be shown"


def _shown(result: Any) -> str:
    try:
        return sound(repr(result))[:RESULT_LIMIT_CHARACTERS]
    except Exception:
        return f"a {type(result).__name__} that cannot be shown"
