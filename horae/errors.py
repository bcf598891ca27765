"""Every error that Horae raises on purpose.

HoraeError
├── UsageError              the caller gave a wrong value; Horae did nothing
│   ├── UnknownName         an unknown name, with the nearest known name
│   │   └── NotConfigured   a queue provider without its setting, with the name of that setting
│   ├── InvalidJob          a job that cannot be registered
│   ├── InvalidSchedule     a schedule that cannot be parsed, or that never fires
│   ├── InvalidSettings     horae.toml or HORAE_* variables
│   ├── InvalidMessage      a message that does not match the documented JSON
│   └── NotReplayable       a run that cannot be replayed from a dead letter
├── StoreError
│   ├── StoreUnavailable    the state store does not answer; it changed nothing
│   │   └── StoreUncertain  the state store does not answer; it may have applied the change
│   └── UnsafeStore         the state store could lose accepted data
├── QueueError
│   ├── QueueUnavailable    the broker does not answer; try again later
│   └── MessageTooLarge     a message over the size limit
├── RunError
│   ├── TimedOut            a run over its time limit
│   │   └── Abandoned       a run over its time limit in a thread, which cannot be stopped
│   ├── ChildDied           the child process of a run ended without an answer
│   ├── NotBegun            no process could be started for the run: the job did not begin
│   └── RunFailed           an exception that a job raised in another process
├── PrefectUnavailable      Prefect's API does not answer; try again later
├── ClockDiffers            the host's clock differs from the store's clock
└── StartError              a process cannot start: the cause and the remedy

A class's docstring is its default message. Data that a handler may need is an attribute.
"""

import difflib
from collections.abc import Iterable


class HoraeError(Exception):
    """Horae met an error."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())

    @property
    def message(self) -> str:
        return str(self.args[0])


class UsageError(HoraeError):
    """What was given cannot be used."""


def nearest(given: str, allowed: Iterable[str], likeness: float = 0.6) -> str | None:
    """The allowed name that is most similar to `given`, or None. `likeness`: the least similarity, from 0 to 1."""
    lowered = {name.lower(): name for name in allowed}
    found = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=likeness)
    return lowered[found[0]] if found else None


def unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """A sentence about an unknown name: the given name, the nearest allowed name, and all allowed names."""
    names = sorted(allowed)
    best = nearest(given, names)
    hint = f", did you mean {best!r}?" if best else "."
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return f"unknown {kind} {given!r}{hint} " + (f"Known: {shown}." if names else f"There is no {kind} yet.")


class UnknownName(UsageError):
    """That name is not known."""

    def __init__(self, kind: str, given: str, allowed: Iterable[str]) -> None:
        self.kind, self.given, self.allowed = kind, given, tuple(sorted(allowed))
        self.nearest = nearest(given, self.allowed)
        super().__init__(unknown(kind, given, self.allowed))


class NotConfigured(UnknownName):
    """This queue provider is not configured."""

    def __init__(self, provider: str, setting: str, usable: Iterable[str]) -> None:
        super().__init__("queue provider", provider, usable)
        self.setting = setting
        variable = "HORAE_" + setting.replace(".", "__").upper()
        table, _, name = setting.rpartition(".")
        what = f"queue provider {provider!r} is not configured: give {name} in [{table}] of horae.toml, or {variable}"
        self.args = (what + (f"; configured: {', '.join(self.allowed)}" if self.allowed else ""),)


class InvalidJob(UsageError):
    """This job cannot be registered."""


class InvalidSchedule(UsageError):
    """This schedule cannot be used."""


class InvalidSettings(UsageError):
    """The settings cannot be used."""


class InvalidMessage(UsageError):
    """The message is not the documented JSON."""


class NotReplayable(UsageError):
    """This run cannot be replayed."""


class StoreError(HoraeError):
    """The state store met an error."""


class StoreUnavailable(StoreError):
    """The state store does not answer."""


class StoreUncertain(StoreUnavailable):
    """The state store did not answer; it is not known whether it did what was asked."""


class UnsafeStore(StoreError):
    """The state store could lose what it accepts."""


class QueueError(HoraeError):
    """The queue met an error."""


class QueueUnavailable(QueueError):
    """The broker does not answer."""


class ProviderNotServed(QueueError):
    """Runs wait for a provider that this process cannot publish to."""


class MessageTooLarge(QueueError):
    """The message is over the size limit."""


class RunError(HoraeError):
    """The run did not end well."""


class TimedOut(RunError):
    """The run went over its time limit."""


class Abandoned(TimedOut):
    """The run went over its time limit in a thread, which nothing can end."""


class ChildDied(RunError):
    """The child process of the run ended without an answer."""


class NotBegun(RunError):
    """No process could be started for the run; nothing of it was done."""


class RunFailed(RunError):
    """The job raised an exception: its class, its words, its traceback, and the names of its class and their bases."""

    def __init__(self, kind: str, message: str, traceback: str, kinds: tuple[str, ...] = ()) -> None:
        self.kind, self.said, self.traceback, self.kinds = kind, message, traceback, kinds or (kind,)
        super().__init__(f"{kind}: {message}" if message else kind)


class PrefectUnavailable(HoraeError):
    """Prefect's API does not answer."""


class ClockDiffers(HoraeError):
    """The host's clock and the store's are further apart than a minute."""


class StartError(HoraeError):
    """This process cannot start."""
