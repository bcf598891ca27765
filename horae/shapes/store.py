"""The JSON of `horae store upgrade`. Documented in docs/reference/json.md."""

from dataclasses import asdict
from typing import Any

from horae.redis.keys import SCHEMA
from horae.store.redis.schema import SchemaState


def upgrade_shape(state: SchemaState, rewritten: int | None) -> dict[str, Any]:
    """`state`: before the upgrade. `rewritten`: the number of rewritten rows; None if no upgrade was needed."""
    return {
        "schema": state.schema if rewritten is None else SCHEMA,
        "newest": SCHEMA,
        "runs": state.runs,
        "rewritten": rewritten,
        "older_clients": None if state.older is None else [asdict(one) for one in state.older],
    }
