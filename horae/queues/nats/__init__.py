"""NATS JetStream: one work-queue stream, and a durable pull consumer for each priority. An acknowledged message is
deleted.

Of the client nats-py only the core connection is used. Its `fetch` stalls (nats.py#986), its pull subscriptions are
lost when the server restarts (nats.py#504), and nats-jetstream 0.3 is a beta. The pull protocol itself is three
requests in JSON. A connection that ends is not repaired: the next step opens a new one, reads the credential files
again, and checks the stream and its consumers.
"""

from datetime import timedelta

from pydantic import SecretStr

from horae.local.ports import LOOPBACK
from horae.queues.base import Capabilities, EmbeddedServer, Ordering, Provider
from horae.queues.nats.consumer import NatsConsumer
from horae.queues.nats.embedded import server, token_file
from horae.queues.nats.publisher import NatsPublisher
from horae.queues.nats.settings import NatsSettings
from horae.settings import Settings


def _missing(settings: Settings, table: NatsSettings) -> str:
    return "" if table.url or table.embedded else "queue.nats.url"


def _access(settings: Settings, table: NatsSettings) -> NatsSettings:
    """How to reach the server: the embedded one by its own token, with paths below the project."""
    own = table.below(settings.project)
    if not table.embedded:
        return own
    address = SecretStr(f"nats://{LOOPBACK}:{table.embedded_port}")
    return own.model_copy(update={"url": address, "token_file": token_file(settings.state)})


def _embedded(settings: Settings, table: NatsSettings) -> EmbeddedServer | None:
    return server(settings.state, table.embedded_port) if table.embedded else None


def _open_publisher(settings: Settings, table: NatsSettings) -> NatsPublisher:
    import nats  # noqa: F401 - a missing library is told now

    return NatsPublisher(_access(settings, table), settings.namespace, settings.queue.message_limit_bytes)


def _open_consumer(settings: Settings, table: NatsSettings, worker: str) -> NatsConsumer:
    return NatsConsumer(_access(settings, table), settings.namespace, settings.queue.message_limit_bytes)


PROVIDER = Provider(
    name="nats",
    title="NATS JetStream",
    use_when="Cloud-native, durable",
    settings=NatsSettings,
    capabilities=Capabilities(
        # The stream has no max_age: a message stays until a worker acknowledges it.
        redelivers_for=timedelta(days=1),
        native_schedules="2.14",
        priorities=True,
        ordering=Ordering.PRIORITY,
        largest_bytes=64 * 1024 * 1024,  # a server accepts no larger max_payload
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=_open_consumer,
    backlog=NatsPublisher.backlog,
    embedded=_embedded,
    extra="nats",
)
