"""The model and a real Valkey take the same steps, and both keep the invariants; see store_machine.py."""

import os
import uuid

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.placing_machine import PlacingMachine

EXAMPLES = int(os.environ.get("LAW_EXAMPLES", "20"))
"""How many histories each machine tries. LAW_EXAMPLES sets another number."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("carried", ["", "redis"])
def test_both_stores_give_the_same_answers_and_keep_the_law(valkey_url: str, carried: str) -> None:
    run_state_machine_as_test(
        lambda: PlacingMachine(valkey_url, f"t{uuid.uuid4().hex[:12]}", carried),  # type: ignore[arg-type]
        settings=settings(max_examples=EXAMPLES, stateful_step_count=50, deadline=None),
    )
