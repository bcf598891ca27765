"""From the bytes that a broker handed over to a delivery."""

from collections.abc import Awaitable, Callable

from horae.errors import InvalidMessage, MessageTooLarge
from horae.messages import Message
from horae.queues.base import Delivery


def delivery_of(body: bytes, limit_bytes: int, acknowledge: Callable[[], Awaitable[None]]) -> Delivery:
    """A delivery with its message, or with what is wrong with it."""
    try:
        message = Message.decode(body, limit_bytes)
    except (InvalidMessage, MessageTooLarge) as error:
        return Delivery(body=body, message=None, wrong=error.message, acknowledge=acknowledge)
    return Delivery(body=body, message=message, acknowledge=acknowledge)
