"""The reasons of verdicts: one list of values for Python, Lua, JSON and the docs."""

import re
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A stable value, a sentence that explains it to people, and a phrase that joins value and note."""

    sentence: str
    phrase: str
    """A text with `{note}` in it, used if there is a note."""

    RAISED = "raised", "The job raised an exception."
    TIMED_OUT = "timed out", "The run exceeded its time_limit and was stopped."
    ABANDONED = (
        "abandoned",
        "The run exceeded its time_limit in a thread, which cannot be stopped. The process restarts itself.",
    )
    PROCESS_DIED = "process died", "The run's child process ended without an answer. It was killed, or out of memory."
    KILLED_ITS_PROCESS = (
        "killed its process",
        "The run ended its own process too often, so it is not tried again. The note counts how often.",
        "killed its process {note} times",
    )
    WORKER_DIED = "worker died", "Too many workers died with the run, or the sidecar of an internal run did."
    UNKNOWN_JOB = "unknown job", "No worker knew the job for ten minutes."
    CRASHED = "crashed", "The process of a flow run died. Prefect's UI shows details."
    OVERLAP = "overlap", "Another run of the same job was active."
    PAUSED = "paused", "The job was paused, or all jobs were."
    DUPLICATE = (
        "duplicate",
        "Another run that is not settled has the same uniqueness key. The note is that run's id.",
        "duplicate of {note}",
    )
    TOO_LATE = "too late", "The fire was older than the job's catch_up_window."
    NOT_CAUGHT_UP = "not caught up", 'The fire was over a minute late, and the job has catch_up="none".'
    SUPERSEDED = "superseded", 'A newer fire of the job replaced it, because the job has catch_up="latest".'
    NO_SIDECAR = "no sidecar", "No sidecar was running to fire the internal job."
    NOT_STARTED = "not started", "Prefect did not begin the flow run within the job's catch_up_window."
    DELETED = "deleted", "A user deleted the flow run, or its deployment, in Prefect."
    REQUESTED = "requested", "A user requested it, for example with `horae cancel`."
    DRAINING = "draining", "The process that ran it was stopped."
    INVALID_MESSAGE = "invalid message", "The queue delivered an invalid message. The note says what is wrong."
    TOO_OLD = (
        "too old to prove unrun",
        "The message is older than the ledger's retention, so the run may have run before.",
    )
    UNVERIFIED = (
        "unverified",
        "The run has no row in the store, and its message has no valid signature. The note says what is wrong with it.",
    )
    UNREADABLE = (
        "unreadable",
        "The run's row in the store is damaged, or another program wrote it. See its dead letter.",
    )
    OTHER = "other", "Another release gave a reason that this release does not know. The note contains it.", "{note}"

    def __new__(cls, value: str, sentence: str = "", phrase: str = "") -> Self:
        # The defaults are for type checkers, which treat `Reason("raised")` as a call of `__new__`.
        member = str.__new__(cls, value)
        member._value_, member.sentence, member.phrase = value, sentence, phrase or f"{value}: {{note}}"
        return member

    @classmethod
    def read(cls, text: str, note: str = "") -> tuple["Reason | None", str]:
        """Read reason and note from a row: separate since schema 3, in one text in schema 2."""
        if not text:
            return None, note
        if text in cls:
            return cls(text), note
        for reason in cls:
            if reason is not cls.OTHER and (found := _PATTERNS[reason].fullmatch(text)):
                return reason, found["note"]
        return cls.OTHER, text


_PATTERNS = {
    reason: re.compile(re.escape(reason.phrase).replace(r"\{note\}", "(?P<note>.*)"), re.DOTALL) for reason in Reason
}


def worded(reason: Reason | None, note: str = "") -> str:
    """Reason and note as text for people: `overlap`, `duplicate of 0199…`. Empty if there is neither."""
    if reason is None:
        return note
    return reason.phrase.format(note=note) if note else reason.value
