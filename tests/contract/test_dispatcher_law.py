"""Several dispatchers of several revisions write each fire once, also if the clock steps; see dispatcher_machine.py."""

import uuid

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from horae.duties import dispatcher
from horae.settings import StoreSettings
from horae.store import Store
from tests.contract.conftest import STORES
from tests.contract.dispatcher_machine import DispatcherMachine
from tests.contract.stores import Clock, steered_store
from tests.contract.test_store_law import EXAMPLES
from tests.model import ModelStore


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", STORES)
def test_each_fire_is_written_once_and_by_policy(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher, "FIRES_A_STEP", 7)
    url = "" if kind == "model" else request.getfixturevalue("valkey_url")

    def opened(clock: Clock) -> Store:
        namespace = f"t{uuid.uuid4().hex[:12]}"
        if not url:
            return ModelStore(namespace, clock)
        return steered_store(url, namespace, StoreSettings(), clock)

    run_state_machine_as_test(
        lambda: DispatcherMachine(opened),  # type: ignore[arg-type]
        settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None),
    )
