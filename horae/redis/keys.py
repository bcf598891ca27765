"""How things are named in Redis and Valkey: what begins every key, and the streams that carry messages.

The queue provider `redis` writes the streams of its messages. The state store's scripts do so where both are one
server, and they write the streams of `OWN`.
"""

SCHEMA = 3
"""The newest spelling of rows and notices that this release knows. It reads and writes the one before too."""
PROVIDER = "redis"
OWN = "own"
"""In place of a provider: the job is declared in one program alone, and the store carries its messages to that one."""
FIELD = b"m"
"""The field of a stream's entry that holds the message."""


def key_prefix(namespace: str) -> str:
    """What begins each key: a hash tag, so that a cluster keeps all keys of a namespace together."""
    return f"{{{namespace}}}:"


def own_queue(job: str) -> str:
    """The queue of a job that one program alone declares."""
    return f"{OWN}:{job}"


def stream_of(namespace: str, priority: str, queue: str = PROVIDER) -> str:
    """The stream of a priority (`high`, `normal`, `low`) of a queue; `prelude.lua` spells it the same."""
    return f"{key_prefix(namespace)}queue:{queue}:{priority}"
