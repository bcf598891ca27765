"""Why a run has its verdict: one list of words for Python, Lua, JSON and the docs."""

import re
from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """A stable word, the sentence that explains it to people, and how the word reads together with a note."""

    sentence: str
    phrase: str
    """With `{note}` in it. Without a note the word stands alone."""

    RAISED = "raised", "The job raised an exception."
    TIMED_OUT = "timed out", "The run went over its time_limit and was ended."
    ABANDONED = (
        "abandoned",
        "The run went over its time_limit in a thread, which nothing can end. The process restarts itself.",
    )
    PROCESS_DIED = "process died", "The child process of the run ended without an answer: killed, or out of memory."
    KILLED_ITS_PROCESS = (
        "killed its process",
        "The run ended its own process too often, so it is not tried again. The note counts how often.",
        "killed its process {note} times",
    )
    WORKER_DIED = "worker died", "Too many workers died with the run, or the sidecar of an internal run did."
    UNKNOWN_JOB = "unknown job", "No worker knew the job for ten minutes."
    CRASHED = "crashed", "The process of a flow run died; Prefect's UI tells more."
    OVERLAP = "overlap", "Another run of the same job was active."
    PAUSED = "paused", "The job, or everything, was paused."
    DUPLICATE = (
        "duplicate",
        "Another run that is not settled has the same uniqueness key. The note is that run's id.",
        "duplicate of {note}",
    )
    TOO_LATE = "too late", "The fire was older than the job's catch_up_window."
    NOT_CAUGHT_UP = "not caught up", 'The fire was over a minute late, and the job has catch_up="none".'
    SUPERSEDED = "superseded", 'A newer fire of the job took its place, as catch_up="latest" wants it.'
    NO_SIDECAR = "no sidecar", "No sidecar was there to fire the internal job."
    NOT_STARTED = "not started", "Prefect did not begin the flow run within the job's catch_up_window."
    DELETED = "deleted", "Somebody deleted the flow run in Prefect, or its deployment."
    REQUESTED = "requested", "Somebody asked for it, such as by `horae cancel`."
    DRAINING = "draining", "The process that ran it was stopped."
    INVALID_MESSAGE = "invalid message", "What came through the queue is no message. The note says what is wrong."
    TOO_OLD = (
        "too old to prove unrun",
        "The ledger no longer reaches back to when the message was made, so the run may have happened before.",
    )
    UNREADABLE = "unreadable", "The store's row of the run was damaged, or somebody else wrote it. It was set aside."
    OTHER = "other", "Another release gave a reason that this one does not know. The note has its words.", "{note}"

    def __new__(cls, value: str, sentence: str = "", phrase: str = "") -> Self:
        # The defaults are for type checkers, which take `Reason("raised")` for a call of this.
        member = str.__new__(cls, value)
        member._value_, member.sentence, member.phrase = value, sentence, phrase or f"{value}: {{note}}"
        return member

    @classmethod
    def read(cls, text: str, note: str = "") -> tuple["Reason | None", str]:
        """Reason and note from a row: the word with its note beside it, or both in one text, as schema 2 has them."""
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
    """For people, in a few words: `overlap`, `duplicate of 0199…`. Empty without a reason and a note."""
    if reason is None:
        return note
    return reason.phrase.format(note=note) if note else reason.value
