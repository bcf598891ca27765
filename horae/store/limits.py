"""Fixed limits of the store. The Lua scripts get them as arguments. Limits that an operator may change are settings."""

from datetime import timedelta

DEATHS = 3
"""A run fails after it has killed its own process this many times."""
LAPSES = 10
"""A run fails after this many workers died while they ran it."""
UNKNOWN_JOB = timedelta(minutes=10)
"""A run fails if its job is unknown to the workers for this long. A rolling deploy may take that long."""
UNKNOWN_JOB_WAIT = timedelta(seconds=5)
"""How long a run waits before the next worker gets it, after a worker that does not know its job."""
GRACE = timedelta(seconds=60)
"""A fire that is at most this late is not missed under any policy, because a restart of a sidecar takes that long."""
FRESH = timedelta(seconds=60)
"""A settled run is kept at least this long, even beyond the maximum number, because brokers may still hold copies."""
OPERATION = timedelta(seconds=60)
"""How long the store keeps the answer to an operation, for a sender that lost the answer and sends it again."""
NOTICES = 10_000
"""How many notices the store keeps if no process takes them. The oldest are dropped."""
STEP = 100
"""How many runs one step of the store hands out, settles or drops at most, beyond those that it was given."""
LOOKS = 500
"""How many entries of an index one step of the store looks at, at most."""
