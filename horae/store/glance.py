"""Read the latest runs and the pauses of jobs, and where runs wait, over a plain socket.

`import redis` alone takes longer than `horae jobs` may take in all. The answer equals that of `Ledger.latest`. TLS,
unix sockets and commands that the server refuses are not supported here: callers use the ordinary store for them.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, unquote, urlsplit

from hiredis import ProtocolError, Reader, ReplyError, pack_command

from horae.errors import StoreUnavailable
from horae.redis.keys import key_prefix
from horae.store.rows import MILLI, moves_of, paused_of, run_of
from horae.store.values import Latest, ProviderRuns, Routes

TIMEOUT_SECONDS = 2.0
CHECK_TIMEOUT_SECONDS = 0.3
"""For each socket operation of `durations` and `routes`. `horae check` has two seconds in all."""
SAMPLE = 100
"""How many runs of each job `durations` reads, the newest."""
PORT = 6379
CHUNK = 65536


class OutOfTheOrdinary(Exception):
    """The address or the server's answer is not supported here. Use the ordinary store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """The latest runs of jobs, and which jobs are paused."""

    latest: dict[str, Latest]
    """The same as `Ledger.latest`."""
    paused: frozenset[str | None]
    """The same as `Pauses.paused`."""


def glance(url: str, namespace: str, jobs: Iterable[str]) -> Standing | None:
    """The standing of these jobs, or None if only the ordinary store can tell. Raises StoreUnavailable."""
    names, key = list(jobs), key_prefix(namespace)
    try:
        with _connected(url) as line:
            lists = [("ZREVRANGE", f"{key}ledger:{name}", "0", "0") for name in names]
            asked = [("HMGET", f"{key}last", *names), *lists] if names else []
            halted, *told = _ask(line, ("HKEYS", f"{key}paused"), *asked)
            settled, newest = (told[0], told[1:]) if told else ([], [])
            run_ids = sorted({run_id for run_id in settled if run_id} | {found[0] for found in newest if found})
            rows = _ask(line, *(("HGETALL", f"{key}run:{run_id}") for run_id in run_ids)) if run_ids else []
    except (OutOfTheOrdinary, ProtocolError, ReplyError, ValueError):
        return None
    found_rows = (
        (run_id, dict(zip(row[::2], row[1::2], strict=True))) for run_id, row in zip(run_ids, rows, strict=True) if row
    )
    runs = {run_id: run_of(run_id, row) for run_id, row in found_rows}
    latest = {
        name: Latest(newest=runs.get(found[0]) if found else None, settled=runs.get(last) if last else None)
        for name, last, found in zip(names, settled, newest, strict=True)
    }
    return Standing(latest=latest, paused=paused_of(halted))


def durations(url: str, namespace: str, jobs: Iterable[str]) -> dict[str, list[float]] | None:
    """How many seconds each of the latest runs of these jobs took, by job; None if only the ordinary store can tell.

    Answers within a second. Raises StoreUnavailable if the store does not answer.
    """
    names, key = list(jobs), key_prefix(namespace)
    try:
        with _connected(url, CHECK_TIMEOUT_SECONDS) as line:
            lists = _ask(line, *(("ZREVRANGE", f"{key}ledger:{name}", "0", str(SAMPLE - 1)) for name in names))
            run_ids = [run_id for found in lists for run_id in found]
            rows = _ask(line, *(("HMGET", f"{key}run:{run_id}", "started_at", "ended_at") for run_id in run_ids))
    except (OutOfTheOrdinary, ProtocolError, ReplyError, ValueError):
        return None
    seconds = {
        run_id: (int(row[1]) - int(row[0])) / 1000
        for run_id, row in zip(run_ids, rows, strict=True)
        if row[0] and row[1]
    }
    return {
        name: [seconds[run_id] for run_id in found if run_id in seconds]
        for name, found in zip(names, lists, strict=True)
    }


def routes(url: str, namespace: str) -> Routes | None:
    """Where runs wait and where they go, or None if only the ordinary store can tell. Raises StoreUnavailable.

    Answers within a second. The same as `Outbox.by_provider` and `Moves.all`.
    """
    key = key_prefix(namespace)
    hashes = (("HGETALL", f"{key}moves"), ("HGETALL", f"{key}moved_at"))
    try:
        with _connected(url, CHECK_TIMEOUT_SECONDS) as line:
            (seconds, micros), providers, *pairs = _ask(line, ("TIME",), ("SMEMBERS", f"{key}providers"), *hashes)
            sets = [f"{key}{name}:{one}" for one in sorted(providers) for name in ("outbox", "queued")]
            asked = [("ZRANGE", name, "0", "0", "WITHSCORES") for name in sets]
            told = _ask(line, *(("ZCARD", name) for name in sets), *asked) if sets else []
    except (OutOfTheOrdinary, ProtocolError, ReplyError, ValueError):
        return None
    now = int(seconds) * 1000 + int(micros) // 1000
    counts: list[int] = [int(str(count)) for count in told[: len(sets)]]
    ages = [max(0, now - int(float(first[1]))) * MILLI if first else timedelta(0) for first in told[len(sets) :]]
    runs = [
        ProviderRuns(
            provider=provider,
            outbox=counts[2 * place],
            overdue=ages[2 * place],
            queued=counts[2 * place + 1],
            oldest=ages[2 * place + 1],
        )
        for place, provider in enumerate(sorted(providers))
    ]
    records, instants = (dict(zip(pair[::2], pair[1::2], strict=True)) for pair in pairs)
    return Routes(runs=runs, moves=moves_of(records, instants))


@contextmanager
def _connected(url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.query or parts.fragment:
        raise OutOfTheOrdinary
    host, port = parts.hostname or "localhost", parts.port or PORT
    try:
        with socket.create_connection((host, port), timeout_seconds) as line:
            greetings = list(_greetings(parts))
            if greetings:
                _ask(line, *greetings)
            yield line
    except OSError as error:
        raise StoreUnavailable(f"the store at redis://{host}:{port} does not answer: {error}") from error


def _greetings(parts: SplitResult) -> Iterator[tuple[str, ...]]:
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        yield ("AUTH", *user, unquote(parts.password))
    elif parts.username:
        raise OutOfTheOrdinary
    if database := parts.path.strip("/"):
        yield ("SELECT", str(int(database)))


def _ask(line: socket.socket, *commands: Sequence[str]) -> list[list[str]]:
    """Send the commands and return the replies, in order."""
    packed = [pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]  # typed for one word
    line.sendall(b"".join(packed))
    reader = Reader(encoding="utf-8", errors="replace")
    replies: list[list[str]] = []
    while len(replies) < len(commands):
        received = line.recv(CHUNK)
        if not received:
            raise ConnectionError("it closed the connection")
        reader.feed(received)
        while (reply := reader.gets()) is not False:
            if isinstance(reply, ReplyError):
                raise OutOfTheOrdinary from reply
            replies.append(reply)
    return replies
