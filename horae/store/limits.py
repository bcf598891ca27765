"""Fixed limits of the store. The scripts get them as arguments; settings hold what an operator may change."""

from datetime import timedelta

DEATHS = 3
"""Processes of its own that a run may kill before it is failed."""
LAPSES = 10
"""Workers that may die with a run before it is failed."""
UNKNOWN = timedelta(minutes=10)
"""How long workers may not know a job before its run is failed: a rolling deploy takes that long."""
UNKNOWN_WAIT = timedelta(seconds=5)
"""How long a run rests between workers that do not know its job."""
GRACE = timedelta(seconds=60)
"""A fire that is no later than this was not missed, whatever the policy: sidecars restart."""
FRESH = timedelta(seconds=60)
"""A settled run is never dropped before this, however many there are: copies of its message may be under way."""
OPERATION = timedelta(seconds=60)
"""How long the answer to an operation is kept, for a sender that did not get it and sends the operation again."""
NOTICES = 10_000
"""Notices that stay when nobody comes to hear them, the newest."""
