"""Decode the bytes from a broker into a delivery."""

from typing import Any

from horae.errors import InvalidMessage, MessageTooLarge
from horae.messages import Message
from horae.queues.base import Delivery


def delivery_of(body: bytes, limit_bytes: int, receipt: Any) -> Delivery:
    """A delivery with its message or, if the body is not valid, with the reason."""
    try:
        message = Message.decode(body, limit_bytes)
    except (InvalidMessage, MessageTooLarge) as error:
        return Delivery(body=body, message=None, wrong=error.message, receipt=receipt)
    return Delivery(body=body, message=message, receipt=receipt)
