"""The JSON of `horae pause` and `horae resume`. Documented in docs/reference/json.md."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Switched:
    """What a pause or a resume did."""

    job: str | None
    """None: everything."""
    before: bool
    """Whether that was paused before, by its own name."""
    after: bool
    everything: bool
    """Whether everything is paused now."""
    by_name: Sequence[str]
    """The jobs that are paused by name now, sorted."""
    handed_out: int = 0
    """Runs that waited and now go on."""
    flows: str = ""
    """Why Prefect's part was not done; empty: it was, or there was none."""


def switched_shape(switched: Switched) -> dict[str, Any]:
    return {
        "job": switched.job,
        "paused": switched.after or switched.everything,
        "changed": switched.before != switched.after,
        "everything_paused": switched.everything,
        "paused_by_name": list(switched.by_name),
        "handed_out": switched.handed_out,
        "flows_error": switched.flows or None,
    }
