"""Signatures of messages: HMAC-SHA-256 with a key that Horae shares with the programs that publish messages.

A message with a row in the store needs none, because the claim runs the row's message.
"""

import hmac
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from horae.errors import InvalidSettings
from horae.messages import Message

log = logging.getLogger(__name__)
PREFIX = "sha256:"
MOST_KEYS = 2
SHORTEST_KEY = 32
"""Characters. `openssl rand -hex 32` makes a key of 64."""
SIGNED = ("job", "run_id", "scheduled_for", "priority", "context", "metadata")
"""The keys of a message that its signature covers: all but `generation` and `signature`."""
Stamp = tuple[int, int, int]


def signed_bytes(message: Message) -> bytes:
    """The JSON that is signed: all keys of SIGNED, sorted, without spaces, in UTF-8. Keys that the body leaves out have
    their defaults, and the names of keys are those of this release.
    """
    values = message.model_dump(mode="json", include=set(SIGNED), by_alias=False)
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode(errors="surrogatepass")


def signature_of(message: Message, key: bytes) -> str:
    return PREFIX + hmac.new(key, signed_bytes(message), "sha256").hexdigest()


def read_keys(path: Path) -> tuple[bytes, ...]:
    """The keys in the file, one a line: the first signs, and both verify. Raises InvalidSettings; the message contains
    no part of a key.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise InvalidSettings(f"queue.signing_keys_file: {path} cannot be read: {error}") from error
    keys = [key for line in lines if (key := line.strip())]
    if not 1 <= len(keys) <= MOST_KEYS:
        raise InvalidSettings(
            f"queue.signing_keys_file: {path} has {len(keys)} lines with a key; give one key, or the current and the "
            "other valid one"
        )
    if short := [n for n, key in enumerate(keys, 1) if len(key) < SHORTEST_KEY]:
        raise InvalidSettings(
            f"queue.signing_keys_file: key {short[0]} in {path} has less than {SHORTEST_KEY} characters; make one with "
            "`openssl rand -hex 32`"
        )
    return tuple(key.encode() for key in keys)


class Signing:
    """Signs and verifies with the keys that the file has now. It reads the file again when the file changes. While a
    changed file cannot be used, the keys before stay in use.
    """

    def __init__(self, path: Path) -> None:
        """Raises InvalidSettings if the file has no usable keys."""
        self._path = path
        self._seen = self._stamp()
        self._keys = read_keys(path)

    def _stamp(self) -> Stamp | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _current(self) -> tuple[bytes, ...]:
        if (stamp := self._stamp()) != self._seen:
            self._seen = stamp
            try:
                self._keys = read_keys(self._path)
            except InvalidSettings as error:
                extra = {"action": "signing_keys_unusable"}
                log.error("%s; the keys before stay in use", error.message, extra=extra)
            else:
                log.info("read the signing keys again", extra={"action": "signing_keys_read"})
        return self._keys

    def sign(self, messages: Sequence[Message]) -> list[Message]:
        """Copies with a signature by the current key."""
        key = self._current()[0]
        return [one.signed(signature_of(one, key)) for one in messages]

    def fault(self, message: Message) -> str:
        """Why the message is not proved to come from a program that has a key; empty if it is."""
        if not message.signature:
            return "it has no signature"
        if "run_id" not in message.model_fields_set:
            return "it has no run_id, so each copy of it would be another run"
        given = message.signature.encode(errors="surrogatepass")
        keys = self._current()
        if any(hmac.compare_digest(signature_of(message, key).encode(), given) for key in keys):
            return ""
        return "its signature fits no valid key"
