"""Every error that Horae raises on purpose.

HoraeError
├── UsageError              the caller gave something wrong; nothing was done
│   ├── UnknownName         a name that is not there, with the nearest that is
│   │   └── NotConfigured   … a queue provider that could be, with the setting that configures it
│   ├── InvalidJob          a job that cannot be registered
│   ├── InvalidSchedule     a schedule that cannot be read, or can never fire
│   ├── InvalidSettings     horae.toml or HORAE_* variables
│   ├── InvalidMessage      a message that is not the documented JSON
│   └── NotReplayable       a run that no dead letter can bring back
├── StoreError
│   ├── StoreUnavailable    the state store does not answer; nothing was done
│   │   └── StoreUncertain  … and it may have been done all the same
│   └── UnsafeStore         the state store could lose what it accepts
├── QueueError
│   ├── QueueUnavailable    the broker does not answer; try again later
│   └── MessageTooLarge     a message over the size limit
├── RunError
│   ├── TimedOut            a run over its time limit
│   │   └── Abandoned       … in a thread, which nothing can end
│   ├── ChildDied           the child process of a run ended without an answer
│   ├── NotBegun            no process could be started for the run: nothing of it was done
│   └── RunFailed           what a job raised in another process
├── PrefectUnavailable      Prefect's API does not answer; try again later
├── ClockDiffers            the host's clock is wrong, by the store's
└── StartError              a process cannot start: what is in its way, and the way out

A class's docstring is its default message. What a handler may need is an attribute.
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
    """The allowed name that `given` most likely meant, or None. `likeness`: from 0 to 1, how near it must be."""
    lowered = {name.lower(): name for name in allowed}
    found = difflib.get_close_matches(given.lower(), lowered, n=1, cutoff=likeness)
    return lowered[found[0]] if found else None


def unknown(kind: str, given: str, allowed: Iterable[str]) -> str:
    """A sentence on a name that is not there: what was given, the nearest right name, what is allowed."""
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
    """The job raised an exception in another process."""

    def __init__(self, kind: str, message: str, traceback: str, kinds: tuple[str, ...] = ()) -> None:
        self.kind, self.traceback, self.kinds = kind, traceback, kinds or (kind,)
        super().__init__(f"{kind}: {message}" if message else kind)


class PrefectUnavailable(HoraeError):
    """Prefect's API does not answer."""


class ClockDiffers(HoraeError):
    """The host's clock and the store's are further apart than a minute."""


class StartError(HoraeError):
    """This process cannot start."""
