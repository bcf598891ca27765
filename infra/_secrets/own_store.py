"""Protects Horae's own store user from a rotation that could lock a process out."""

from pathlib import Path

from horae.redis.address import RedisAddress, parse
from horae.settings import Settings
from infra._secrets.settings import RedisUser, RotationSettings
from infra._secrets.versions import RotationFailed

LOCAL = {"localhost", "127.0.0.1", "::1"}


def refuse_unless_safe(name: str, secret: RedisUser, rotation: RotationSettings, general: Settings) -> None:
    """Raises RotationFailed where the secret is that of Horae's own store, or of its queue, and a process of Horae
    could go on with the old password."""
    for table, url, access in (
        ("store", general.store.url, general.store),
        ("queue.redis", general.queue.redis_url, general.queue.redis),
    ):
        if url is None:
            continue
        address = parse(url.get_secret_value())
        user = access.username or address.username or "default"
        if user != secret.user or not any(_same(address, parse(one.get_secret_value())) for one in secret.urls):
            continue
        file = general.project / secret.file if secret.file else None
        who = f"{name} is the user {user!r} that Horae itself logs in with ([{table}])"
        if access.password_file is None or file is None or _real(access.password_file) != _real(file):
            raise RotationFailed(
                f"{who}. A process that does not read its password from a file would lose access: set password_file "
                f"in [{table}], and `file` of {name} to the same file"
            )
        if not rotation.store_processes_read_file:
            raise RotationFailed(
                f"{who}. This process reads its password from a file; set store_processes_read_file = true when all "
                "other processes, on all machines, do so too"
            )


def _same(one: RedisAddress, other: RedisAddress) -> bool:
    """Whether both may be the same server. True if that cannot be told, such as for Sentinels and clusters."""
    if one.path or other.path:
        return one.path == other.path
    if one.kind is not other.kind:
        return True
    return any(_known(a) == _known(b) for a in one.hosts for b in other.hosts)


def _known(host: tuple[str, int]) -> tuple[str, int]:
    return ("localhost" if host[0] in LOCAL else host[0].lower(), host[1])


def _real(path: Path) -> Path:
    return path.expanduser().resolve()
