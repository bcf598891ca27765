"""Memory and a real Valkey take the same steps, and both keep the law; see store_machine.py."""

import os
import uuid

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.store_machine import StoreMachine

EXAMPLES = int(os.environ.get("HORAE_TEST_EXAMPLES", "25"))
"""How many histories of each machine; a longer search is asked for by the environment."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("carried", ["", "redis"])
def test_both_stores_give_the_same_answers_and_keep_the_law(valkey_url: str, carried: str) -> None:
    class Machine(StoreMachine):
        pass

    Machine.carried = carried
    run_state_machine_as_test(
        lambda: Machine(valkey_url, f"t{uuid.uuid4().hex[:12]}"),
        settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None),
    )
