"""Redis Streams: one stream for each priority, one consumer group. An acknowledged entry is deleted.

If a consumer has not acknowledged an entry after `ABANDONED`, another consumer takes the entry over. A live worker
claims and acknowledges much faster, so the first worker must have died.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from horae.clock import monotonic
from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message, Priority
from horae.queues.base import Backlog, Capabilities, Delivery, Ordering, Provider
from horae.queues.decoding import delivery_of
from horae.queues.priorities import wheel
from horae.redis.access import RedisAccess
from horae.redis.address import shown
from horae.redis.keys import FIELD, stream_of
from horae.redis.keys import PROVIDER as PROVIDER_NAME
from horae.settings import Settings

GROUP = "workers"
ABANDONED = timedelta(seconds=5)
LOOKS = 5
"""How often in that time a consumer looks for abandoned entries."""
FORGOTTEN = timedelta(days=1)
TIMEOUT_SECONDS = 5.0
SILENCE_SECONDS = TIMEOUT_SECONDS + 2.0
"""The timeout of a consumer, which waits a second for a message before the server answers."""
ACCESS = RedisAccess()


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise the errors of redis-py as QueueUnavailable or QueueError."""
    from redis.exceptions import (
        AuthenticationError,
        ConnectionError,
        NoPermissionError,
        RedisError,
        TimeoutError,
    )

    try:
        yield
    except (AuthenticationError, NoPermissionError) as error:
        raise QueueUnavailable(f"the queue at {shown(url)} refuses these credentials: {error}") from error
    except (ConnectionError, TimeoutError, OSError) as error:
        raise QueueUnavailable(f"the queue at {shown(url)} does not answer: {error}") from error
    except RedisError as error:
        raise QueueError(f"the queue at {shown(url)}: {error}") from error


def client_of(url: str, timeout_seconds: float, namespace: str = "", access: RedisAccess = ACCESS) -> Any:
    from horae.redis.clients import open_client

    return open_client(url, access, stream_of(namespace, Priority.NORMAL), timeout_seconds=timeout_seconds)


POLL = """
-- KEYS: the streams, in the order of polling. ARGV: group, consumer, how many. One round trip polls all priorities.
local found, left = {}, tonumber(ARGV[3])
for _, stream in ipairs(KEYS) do
  if left <= 0 then break end
  local answer = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', left, 'STREAMS', stream, '>')
  if answer then
    left = left - #answer[1][2]
    found[#found + 1] = answer[1]
  end
end
return found
"""


class RedisPublisher:
    def __init__(self, url: str, namespace: str, limit_bytes: int, access: RedisAccess = ACCESS) -> None:
        self._url, self._namespace, self._limit_bytes = url, namespace, limit_bytes
        self._client = client_of(url, TIMEOUT_SECONDS, namespace, access)

    async def publish(self, messages: Sequence[Message]) -> None:
        bodies = [(stream_of(self._namespace, one.priority), one.encode(self._limit_bytes)) for one in messages]
        with translated(self._url):
            async with self._client.pipeline(transaction=False) as pipe:
                for stream, body in bodies:
                    pipe.xadd(stream, {FIELD: body})
                await pipe.execute()

    async def check(self) -> None:
        with translated(self._url):
            await self._client.ping()

    async def backlog(self) -> Backlog:
        """The total length of the streams. Acknowledged entries are deleted, so all others are not acknowledged."""
        streams = [stream_of(self._namespace, priority) for priority in Priority]
        with translated(self._url):
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.time()
                for stream in streams:
                    pipe.xlen(stream)
                    pipe.xrange(stream, count=1)
                (seconds, micros), *answers = await pipe.execute()
        now = int(seconds) * 1000 + int(micros) // 1000
        made = [int(entries[0][0].split(b"-")[0]) for entries in answers[1::2] if entries]
        oldest = timedelta(milliseconds=max(0, now - min(made))) if made else timedelta(0)
        return Backlog(messages=sum(answers[::2]), oldest=oldest)

    async def close(self) -> None:
        await self._client.aclose()


class RedisConsumer:
    def __init__(
        self,
        url: str,
        namespace: str,
        limit_bytes: int,
        name: str,
        access: RedisAccess = ACCESS,
        queues: Iterable[str] = (PROVIDER_NAME,),
    ) -> None:
        """`name`: must differ from those of all other open consumers."""
        self._url, self._namespace, self._limit_bytes, self._name = url, namespace, limit_bytes, name
        self._streams: dict[Priority, list[str]] = {priority: [] for priority in Priority}
        for queue in queues:
            self.listen(queue)
        self._client = client_of(url, SILENCE_SECONDS, namespace, access)
        self._polling = self._client.register_script(POLL)
        self._wheel = wheel()
        self._spare: deque[Delivery] = deque()
        self._ready = False
        self._looked_for_abandoned = -ABANDONED.total_seconds()

    def listen(self, queue: str) -> None:
        """Receive also from that queue, starting with the next `receive`."""
        for priority, streams in self._streams.items():
            streams.append(stream_of(self._namespace, priority, queue))
        self._ready = False

    @property
    def _all_streams(self) -> list[str]:
        return [stream for streams in self._streams.values() for stream in streams]

    async def receive(self, limit: int, wait: timedelta) -> list[Delivery]:
        from redis.exceptions import ResponseError

        found = [self._spare.popleft() for _ in range(min(limit, len(self._spare)))]
        with translated(self._url):
            try:
                if not self._ready:
                    await self._create_groups()
                found += await self._abandoned(limit - len(found))
                found += await self._poll(limit - len(found))
                if not found and wait:
                    # This reads at most one entry of each stream. Keep those beyond the limit for the next call.
                    got = await self._read(self._all_streams, 1, max(1, wait // timedelta(milliseconds=1)))
                    found, rest = got[:limit], got[limit:]
                    self._spare.extend(rest)
            except ResponseError as error:
                if "NOGROUP" not in str(error):
                    raise
                self._ready = False  # the server restarted without the group; the next call creates it
        return found

    async def _create_groups(self) -> None:
        from redis.exceptions import ResponseError

        for stream in self._all_streams:
            try:
                await self._client.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
            await self._forget_names(stream)
        self._ready = True

    async def _forget_names(self, stream: str) -> None:
        """Delete consumers that were idle for `FORGOTTEN` and have no pending entries, so that names do not pile up."""
        for one in await self._client.xinfo_consumers(stream, GROUP):
            if one["pending"] == 0 and one["idle"] > FORGOTTEN // timedelta(milliseconds=1):
                await self._client.xgroup_delconsumer(stream, GROUP, one["name"])

    async def _abandoned(self, limit: int) -> list[Delivery]:
        if limit <= 0 or monotonic() - self._looked_for_abandoned < ABANDONED.total_seconds() / LOOKS:
            return []
        found: list[Delivery] = []
        for stream in self._all_streams:
            if len(found) < limit:
                idle = ABANDONED // timedelta(milliseconds=1)
                answer = await self._client.xautoclaim(
                    stream, GROUP, self._name, idle, start_id="0-0", count=limit - len(found)
                )
                found += [self._delivery(stream.encode(), id, fields.get(FIELD, b"")) for id, fields in answer[1]]
        if len(found) < limit:
            self._looked_for_abandoned = monotonic()
        return found

    async def _poll(self, limit: int) -> list[Delivery]:
        if limit <= 0:
            return []
        streams = [stream for priority in next(self._wheel) for stream in self._streams[priority]]
        return self._deliveries(await self._polling(keys=streams, args=[GROUP, self._name, limit]))

    async def _read(self, streams: list[str], count: int, block_millis: int | None) -> list[Delivery]:
        answer = await self._client.xreadgroup(
            GROUP, self._name, dict.fromkeys(streams, ">"), count=count, block=block_millis
        )
        return [
            self._delivery(stream, id, fields.get(FIELD, b""))
            for stream, entries in (answer.items() if isinstance(answer, dict) else answer or [])
            for id, fields in entries
        ]

    def _deliveries(self, answer: Any) -> list[Delivery]:
        """Convert the answer of POLL: streams, their entries, and the fields of each entry as a flat list."""
        return [
            self._delivery(stream, id, fields[1] if fields[0] == FIELD else b"")
            for stream, entries in answer
            for id, fields in entries
        ]

    def _delivery(self, stream: bytes, id: bytes, body: bytes) -> Delivery:
        return delivery_of(body, self._limit_bytes, (stream, id))

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        ids: dict[bytes, list[bytes]] = defaultdict(list)
        for delivery in deliveries:
            stream, id = delivery.receipt
            ids[stream].append(id)
        with translated(self._url):
            async with self._client.pipeline(transaction=True) as pipe:
                for stream, its in ids.items():
                    pipe.xack(stream, GROUP, *its)
                    pipe.xdel(stream, *its)
                await pipe.execute()

    async def close(self) -> None:
        """Delete the consumer's name if it has no pending entries, so that names do not pile up."""
        try:
            with translated(self._url):
                for stream in self._all_streams:
                    pending = await self._client.xpending_range(stream, GROUP, "-", "+", 1, consumername=self._name)
                    if not pending:
                        await self._client.xgroup_delconsumer(stream, GROUP, self._name)
        except QueueError:
            pass  # the server does not answer; an idle name does no harm
        await asyncio.shield(self._client.aclose())


def _server(settings: Settings) -> tuple[str, RedisAccess]:
    """The address and the credentials. A server other than the store never gets the store's password."""
    url = settings.queue.redis_url or settings.store.url
    assert url is not None, "missing() names the missing setting"
    own = settings.queue.redis_url not in (None, settings.store.url)
    return url.get_secret_value(), settings.queue.redis if own else settings.store


def _missing(settings: Settings, table: RedisAccess) -> str:
    return "" if settings.queue.redis_url or settings.store.url else "queue.redis_url"


def _open_publisher(settings: Settings, table: RedisAccess) -> RedisPublisher:
    url, access = _server(settings)
    return RedisPublisher(url, settings.namespace, settings.queue.message_limit_bytes, access)


def _open_consumer(settings: Settings, table: RedisAccess, worker: str) -> RedisConsumer:
    url, access = _server(settings)
    return RedisConsumer(url, settings.namespace, settings.queue.message_limit_bytes, worker, access)


PROVIDER = Provider(
    name=PROVIDER_NAME,
    title="Redis Streams",
    use_when="Simple queue, fast",
    settings=RedisAccess,
    capabilities=Capabilities(
        # A stream keeps entries until they are acknowledged, so this is the longest planned outage of all workers.
        redelivers_for=timedelta(days=1),
        native_schedules=None,
        priorities=True,
        ordering=Ordering.PRIORITY,
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=_open_consumer,
    backlog=RedisPublisher.backlog,
)
