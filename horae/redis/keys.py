"""Names in Redis and Valkey: the prefix of all keys, and the streams that carry messages.

The queue provider `redis` writes the streams of its messages. If store and queue are one server, the scripts of the
store write them instead. The scripts always write the streams of `OWN`.
"""

SCHEMA = 3
"""The newest schema of rows and notices that this release knows. It also reads and writes the previous schema."""
PROVIDER = "redis"
OWN = "own"
"""The provider of a job that only one program declares: the store carries its messages to that program."""
READY = "ready"
"""The queue of messages that a worker received and could not begin."""
FIELD = b"m"
"""The field of a stream's entry that holds the message."""


def key_prefix(namespace: str) -> str:
    """The prefix of each key: a hash tag, so that a cluster keeps all keys of a namespace in one slot."""
    return f"{{{namespace}}}:"


def own_queue(job: str) -> str:
    """The queue of a job that only one program declares."""
    return f"{OWN}:{job}"


def stream_of(namespace: str, priority: str, queue: str = PROVIDER) -> str:
    """The stream of a priority (`high`, `normal`, `low`) of a queue. `prelude.lua` builds the same name."""
    return f"{key_prefix(namespace)}queue:{queue}:{priority}"
