"""How things are named in Redis and Valkey: what begins every key, and the streams that carry messages.

The streams are written by the queue provider `redis`, and by the state store's own scripts where both are one server.
"""

PROVIDER = "redis"
FIELD = b"m"
"""The field of a stream's entry that holds the message."""


def key_prefix(namespace: str) -> str:
    """What begins each key: a hash tag, so that a cluster keeps all keys of a namespace together."""
    return f"{{{namespace}}}:"


def stream_of(namespace: str, priority: str) -> str:
    """The stream of a priority (`high`, `normal`, `low`); `prelude.lua` spells it the same."""
    return f"{key_prefix(namespace)}queue:{PROVIDER}:{priority}"
