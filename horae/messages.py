"""What travels through a queue: documented JSON, validated and size-limited."""

import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from horae.errors import InvalidMessage, MessageTooLarge
from horae.jobs.job import NAME, NAME_LIMIT
from horae.runs import made_at, new_run_id


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} is not a number there")


class Lane(StrEnum):
    """Priority: polled 8:3:1, weighted and not strict."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


LANE_WEIGHTS = {Lane.HIGH: 8, Lane.NORMAL: 3, Lane.LOW: 1}


ATTEMPTS = 1_000_000_000
ROOM_BYTES = 256
"""What a message may grow over the limit when handed out again: its attempt, and its run where others named none."""


class Message(BaseModel):
    """One handing-out of a run. Only `job` must be given by those who publish straight to a broker."""

    # What is not finite comes back as it was: `null` in its place would be another context at the second attempt.
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    job: Annotated[str, Field(pattern=f"^{NAME.pattern}$", max_length=NAME_LIMIT)]
    """The job's name."""
    run: Annotated[str, Field(pattern=r"^[0-9a-zA-Z_-]{1,64}$")] = Field(default_factory=new_run_id)
    """Names the run: two messages with the same run are one run."""
    attempt: Annotated[int, Field(ge=1, le=ATTEMPTS)] = 1
    """Counts handings-out, from 1. A copy with the same run and attempt is a duplicate."""
    scheduled_for: AwareDatetime | None = None
    """The fire that it answers to."""
    lane: Lane = Lane.NORMAL
    """Its priority; also says which stream carries it."""
    context: dict[str, Any] = Field(default_factory=dict)
    """The keyword arguments of the job."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """What travels along and the job does not get."""

    @property
    def made_at(self) -> datetime | None:
        """The earliest instant at which this run can have been made, as far as fire or id tell; None: nobody knows."""
        return self.scheduled_for or made_at(self.run)

    def encode(self, limit_bytes: int) -> bytes:
        """JSON in UTF-8; raises MessageTooLarge over the limit, or InvalidMessage for what JSON does not have.

        What was accepted once is not too large for a retry.
        """
        try:
            body = self.model_dump_json(exclude_defaults=True).encode()
            if b"NaN" in body or b"Infinity" in body:
                json.loads(body, parse_constant=_no_number)
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidMessage(f"the message for job {self.job!r} cannot be written as JSON: {error}") from error
        if len(body) > limit_bytes + (ROOM_BYTES if self.attempt > 1 else 0):
            raise MessageTooLarge(
                f"the message for job {self.job!r} has {len(body)} bytes and the limit is {limit_bytes}; put the data "
                "somewhere and send its address, or raise queue.message_limit_bytes"
            )
        return body

    @classmethod
    def decode(cls, body: bytes, limit_bytes: int) -> Self:
        """Raises InvalidMessage, saying what is wrong, or MessageTooLarge."""
        size = len(body)
        if size > limit_bytes + ROOM_BYTES:
            raise MessageTooLarge(f"a message of {size} bytes came and the limit is {limit_bytes}")
        try:
            message = cls.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidMessage(f"{where}: {first['msg']}" if where else first["msg"]) from error
        if size > limit_bytes and message.attempt == 1:
            raise MessageTooLarge(f"a message of {size} bytes came and the limit is {limit_bytes}")
        return message
