"""What a guardian does for its worker: it renews the leases of the claims that the worker holds, and finds out whether
the event loop of the worker is blocked.

The worker sends {"hold": [[run, token, limit in seconds or null], ...], "drop": [token, ...]}, at least each second, as
long as its event loop runs. The guardian answers {"stop": [[token, why], ...]} for the claims that must end.
"""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from horae.clock import monotonic
from horae.errors import StoreError
from horae.execution.channel import encoded
from horae.messages import Message
from horae.store.values import Answer, Claim, Stop

log = logging.getLogger(__name__)
QUIET_SECONDS = 5.0
"""An event loop without a message for this long is blocked."""
BEYOND_LIMIT_SECONDS = 5.0
RETRY_SECONDS = 0.5
"""The wait before a failed renewal is repeated. It is short, so that no lease expires only because a failover delayed
the renewal.
"""
SILENCE_SECONDS = 60.0
"""How long a run without a time limit may block the event loop."""
AT_ONCE = 200

type Renew = Callable[[Sequence[Claim], timedelta], list[Stop | None]]


class Watch:
    """The claims of the worker; the guardian renews them every third of the lease."""

    def __init__(self, renew: Renew, lease: timedelta) -> None:
        self._renew, self._lease = renew, lease
        self._held: dict[int, tuple[str, float | None]] = {}
        """By token: the run, and the instant on the monotonic clock shortly after its time limit."""
        self._moved = monotonic()
        self._due = self._moved + lease.total_seconds() / 3
        self._away = False
        self.stopped = False
        """The worker is stopped, as by SIGSTOP. It must not hold claims that it cannot continue in time."""

    def hear(self, data: bytes) -> None:
        """Handle a message of the worker."""
        said = json.loads(data)
        self._moved = monotonic()
        for run, token, limit in said.get("hold", ()):
            self._held[token] = (run, None if limit is None else self._moved + limit + BEYOND_LIMIT_SECONDS)
        for token in said.get("drop", ()):
            self._held.pop(token, None)

    def wait(self, at_most_seconds: float) -> float:
        """The time until the next action; until then the guardian only receives."""
        return max(0.0, min(at_most_seconds, self._due - monotonic()))

    def why_stuck(self) -> str:
        """The reason why the worker must be killed; empty if it may continue. It may continue as long as its event loop
        runs, because the loop enforces the time limits. A blocked event loop has the time that its runs have.
        """
        silence = monotonic() - self._moved
        if silence <= QUIET_SECONDS:
            return ""
        for run, until in self._held.values():
            if until is None:
                if silence > SILENCE_SECONDS:
                    return f"its event loop has been blocked for {silence:.0f} s while run {run} was active"
            elif monotonic() > until:
                return f"run {run} exceeds its time limit, and the event loop has been blocked for {silence:.0f} s"
        return ""

    def renewed(self) -> Iterator[bytes]:
        """Renew the claims if it is time. Returns the answer for the worker."""
        if monotonic() < self._due:
            return
        self._due = monotonic() + self._lease.total_seconds() / 3
        if self.stopped or not self._held:
            return
        held = list(self._held.items())
        for start in range(0, len(held), AT_ONCE):
            some = [_claim(run, token) for token, (run, _) in held[start : start + AT_ONCE]]
            try:
                answers = self._renew(some, self._lease)
            except StoreError as error:
                # The runs continue: only the store can say whether their leases are lost.
                if not self._away:
                    log.warning("cannot renew leases: %s", error, extra={"action": "renewal_waits"})
                self._away, self._due = True, min(self._due, monotonic() + RETRY_SECONDS)
                return
            self._away = False
            stops = [(claim.token, stop) for claim, stop in zip(some, answers, strict=True) if stop]
            for token, stop in stops:
                if stop is Stop.LEASE_LOST:
                    self._held.pop(token, None)
            if stops:
                yield encoded({"stop": stops})


def _claim(run: str, token: int) -> Claim:
    """The parts of the claim that a renewal uses. The worker has checked the claim."""
    return Claim(message=Message.model_construct(job="", run_id=run), answer=Answer.RUN, token=token)
