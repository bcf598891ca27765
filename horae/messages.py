"""The message that a queue carries: documented JSON, validated and limited in size."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)
from pydantic_core import PydanticSerializationError, from_json

from horae.clock import in_utc
from horae.errors import InvalidMessage, MessageTooLarge
from horae.jobs.job import NAME, NAME_LIMIT
from horae.runs import made_at, new_run_id


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not a valid JSON number")


class Priority(StrEnum):
    """The priority of a run. Workers poll high, normal and low in the ratio 8:3:1; no priority starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


PRIORITY_WEIGHTS = {Priority.HIGH: 8, Priority.NORMAL: 3, Priority.LOW: 1}


GENERATIONS = 1_000_000_000
"""The highest generation of a run."""
FIRST_GENERATIONS = GENERATIONS // 2
"""The highest generation of a message without a row. It leaves room for retries: a run that reaches GENERATIONS cannot
be handed out again and would block its job."""
SIGNATURE_LIMIT = 80
"""The most characters of a signature."""
SIGNATURE_BYTES = SIGNATURE_LIMIT + len(',"signature":""')
"""How many bytes a message may exceed the limit with its signature. The limit applies to the message without it, so
that a run that was accepted is never too large to be signed."""
ROOM_BYTES = 256
"""How many bytes a message of a later generation may exceed the limit: its generation, and a run_id that was added."""


OLD_KEYS = {"run_id": "run", "generation": "attempt", "priority": "lane"}
"""Keys that have another name in an older release. Messages are read with both names and written with the old one,
because the older release treats a message with an unknown key as invalid."""


def _renamed(key: str) -> Any:
    """Arguments of a field that read both names of a key and write the old one."""
    return {"validation_alias": AliasChoices(key, OLD_KEYS[key]), "serialization_alias": OLD_KEYS[key]}


class Message(BaseModel):
    """The message of one generation of a run. A program that publishes straight to a broker must give only `job`."""

    # Keep NaN and infinity: if they became `null`, a retry would get another context.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants", serialize_by_alias=True)

    job: Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=NAME_LIMIT)]
    """The job's name."""
    run_id: str = Field(pattern=r"^[0-9a-zA-Z_-]{1,64}$", default_factory=new_run_id, **_renamed("run_id"))
    """The id of the run. Two messages with the same run_id are one run."""
    generation: int = Field(ge=1, le=GENERATIONS, default=1, **_renamed("generation"))
    """How often the run was handed out, from 1. A copy with the same run_id and generation is a duplicate."""
    scheduled_for: Annotated[AwareDatetime, AfterValidator(in_utc)] | None = None
    """The instant of the fire in UTC, if a schedule caused the run."""
    priority: Priority = Field(default=Priority.NORMAL, **_renamed("priority"))
    """The priority of the run. A provider may keep a queue for each priority."""
    context: dict[str, Any] = Field(default_factory=dict)
    """The keyword arguments of the job."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Other data about the run. The job does not get it as arguments."""
    signature: str | None = Field(default=None, max_length=SIGNATURE_LIMIT)
    """Proves that a program with a signing key published the message. Needed only if signing is on: see below."""

    def again(self, resent: int) -> "Message":
        """The message for its `resent`th publishing beyond the first, after the broker may have lost the others."""
        if not resent:
            return self
        copy = _Again.model_construct(self.model_fields_set, **self.__dict__)
        copy._resent = resent
        return copy

    def signed(self, signature: str) -> Self:
        """The message with that signature."""
        return self.model_copy(update={"signature": signature})

    @property
    def delivery_id(self) -> str:
        """An id for brokers that discard a message whose id they know. Another one for each generation and each time
        that it is published again."""
        return f"{self.run_id}:{self.generation}"

    @property
    def made_at(self) -> datetime | None:
        """The earliest instant at which the run can have been created, by its fire or its id; None if neither tells."""
        return self.scheduled_for or made_at(self.run_id)

    def text(self) -> str:
        """JSON. Raises InvalidMessage for values that JSON lacks."""
        try:
            return self.model_dump_json(exclude_defaults=True)
        except (PydanticSerializationError, ValueError) as error:
            raise self._not_json(error) from error

    def encode(self, limit_bytes: int) -> bytes:
        """JSON in UTF-8. Raises MessageTooLarge above the limit, or InvalidMessage for values that JSON lacks."""
        return self.checked(self.text(), limit_bytes)

    def checked(self, text: str, limit_bytes: int) -> bytes:
        """The `text` of this message in UTF-8; raises as `encode` does.

        A later generation may exceed the limit by ROOM_BYTES, so that an accepted run is never too large for a retry.
        """
        try:
            body = text.encode()
            if b"NaN" in body or b"Infinity" in body:
                json.loads(body, parse_constant=_no_number)
            # The JSON writer accepts values that the reader refuses, such as 220 nested lists.
            from_json(body)
        except ValueError as error:
            raise self._not_json(error) from error
        size = len(body) - (SIGNATURE_BYTES if self.signature else 0)
        if size > limit_bytes + (ROOM_BYTES if self.generation > 1 else 0):
            raise MessageTooLarge(
                f"the message for job {self.job!r} has {size} bytes, and the limit is {limit_bytes}; store the "
                "data elsewhere and send its address, or raise queue.message_limit_bytes"
            )
        return body

    def _not_json(self, error: Exception) -> InvalidMessage:
        return InvalidMessage(f"cannot write the message for job {self.job!r} as JSON: {error}")

    @classmethod
    def decode(cls, body: bytes, limit_bytes: int) -> Self:
        """Read a message from JSON. Raises InvalidMessage, which says what is wrong, or MessageTooLarge."""
        size = len(body)
        if size > limit_bytes + ROOM_BYTES + SIGNATURE_BYTES:
            raise MessageTooLarge(f"received a message of {size} bytes, and the limit is {limit_bytes}")
        try:
            message = cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidMessage(f"{where}: {first['msg']}" if where else first["msg"]) from error
        room = (SIGNATURE_BYTES if message.signature else 0) + (ROOM_BYTES if message.generation > 1 else 0)
        if size > limit_bytes + room:
            raise MessageTooLarge(f"received a message of {size} bytes, and the limit is {limit_bytes}")
        return message


KEPT_BYTES = 16_384
"""How many bytes of an invalid message a dead letter keeps."""


def kept_of(body: bytes) -> str:
    """The text of an invalid message for a dead letter: at most the first KEPT_BYTES, and the size of the body."""
    text = body[:KEPT_BYTES].decode(errors="replace")
    return text if len(body) <= KEPT_BYTES else f"{text}… (the first {KEPT_BYTES} of {len(body)} bytes)"


class _Again(Message):
    """A class of its own, because a private attribute would make each message slower to read."""

    _resent: int = PrivateAttr(default=0)

    @property
    def delivery_id(self) -> str:
        return f"{super().delivery_id}:{self._resent}"

    def __repr_name__(self) -> str:
        return Message.__name__
