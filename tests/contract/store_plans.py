"""The values that the state machines choose from: policies, spans of time, ways to end a claim."""

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from horae.jobs.policies import CatchUp, Overlap
from horae.reasons import Reason
from horae.runs import Failure, Verdict
from horae.store.values import Policy
from tests.contract.stores import LEASE, NONE

HOUR = timedelta(hours=1)
POLICIES = [
    Policy(overlap=Overlap.SKIP, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.SKIP, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.QUEUE, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.QUEUE, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.CANCEL_OTHER, catch_up=CatchUp.LATEST, catch_up_window=HOUR),
    Policy(overlap=Overlap.CANCEL_OTHER, catch_up=CatchUp.NONE, catch_up_window=HOUR),
    Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.ALL, catch_up_window=HOUR),
    Policy(overlap=Overlap.ALLOW, catch_up=CatchUp.LATEST, catch_up_window=HOUR, concurrency=2),
]
SPANS = [timedelta(milliseconds=1), timedelta(milliseconds=5_700), LEASE, timedelta(seconds=61), HOUR]
AGES = [NONE, LEASE, timedelta(seconds=60), timedelta(seconds=61), HOUR, HOUR + timedelta(milliseconds=1)]
DELAYS = [NONE, timedelta(seconds=5), HOUR]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
CONTEXTS = st.dictionaries(st.text(max_size=3), JSON, max_size=2)
ENDINGS: list[dict[str, Any]] = [
    {"verdict": Verdict.RAN, "result": {"n": [1]}},
    {"verdict": Verdict.FAILED, "reason": Reason.RAISED, "failure": Failure(type="OSError", message="disk full")},
    {"verdict": Verdict.CANCELLED, "reason": Reason.OVERLAP},
    {"reason": Reason.DRAINING},
    {"retry_after": NONE, "reason": Reason.RAISED},
    {"retry_after": timedelta(seconds=5), "reason": Reason.RAISED, "failure": Failure(type="E", message="1")},
    {"died": True, "reason": Reason.PROCESS_DIED, "note": "killed"},
    {"died": True, "retry_after": timedelta(seconds=1), "reason": Reason.PROCESS_DIED, "note": "killed"},
]
