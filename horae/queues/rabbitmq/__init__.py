"""RabbitMQ: a quorum queue for each priority, publisher confirms, mandatory publishing.

A message leaves its queue when it is acknowledged. When the channel of a worker ends, the broker hands out again what
that worker received and did not acknowledge.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from horae.queues.access import BrokerAccess
from horae.queues.base import Capabilities, Ordering, Provider
from horae.settings import Settings

if TYPE_CHECKING:
    from horae.queues.rabbitmq.consumer import RabbitConsumer
    from horae.queues.rabbitmq.publisher import RabbitPublisher

SCHEMES = ("amqp", "amqps")


class RabbitSettings(BrokerAccess):
    url: SecretStr | None = None
    """amqp://HOST:5672/VHOST or amqps://HOST:5671/VHOST; several for a cluster, separated by commas. Default: none."""
    heartbeat_seconds: int = Field(10, ge=1, le=600)
    """A connection that is silent for twice as long counts as dead."""
    replicas: int | None = Field(None, ge=1, le=99)
    """Nodes of a cluster that keep a copy of each queue, used when a queue is made. Default: the server's choice."""

    @property
    def addresses(self) -> list[str]:
        return [part.strip() for part in self.url.get_secret_value().split(",")] if self.url else []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        schemes = set()
        for address in self.addresses:
            try:
                parts = urlsplit(address)
                _ = parts.port
            except ValueError:
                raise ValueError("url: the host or port of the address cannot be read") from None
            schemes.add(parts.scheme)
            if parts.scheme not in SCHEMES or not parts.hostname:
                raise ValueError("url: an address must begin with amqp:// or amqps:// and name a host")
            if parts.username and self.username:
                raise ValueError("username is given, and url has a user too; give only one of them")
            if parts.password and (self.password or self.password_file):
                raise ValueError("a password is given, and url has one too; give only one of them")
        if self.tls_given and schemes - {"amqps"}:
            raise ValueError(f"{self.tls_given} is given, but url is amqp://, which has no TLS; use amqps://")
        return self


def _missing(settings: Settings, table: RabbitSettings) -> str:
    return "" if table.url else "queue.rabbitmq.url"


def _open_publisher(settings: Settings, table: RabbitSettings) -> "RabbitPublisher":
    from horae.queues.rabbitmq.publisher import RabbitPublisher

    own = table.below(settings.project)
    return RabbitPublisher(own, settings.namespace, settings.queue.message_limit_bytes)


def _open_consumer(settings: Settings, table: RabbitSettings, worker: str) -> "RabbitConsumer":
    from horae.queues.rabbitmq.consumer import RabbitConsumer

    own = table.below(settings.project)
    return RabbitConsumer(own, settings.namespace, settings.queue.message_limit_bytes, worker)


PROVIDER = Provider(
    name="rabbitmq",
    title="RabbitMQ",
    use_when="Complex routing, AMQP",
    settings=RabbitSettings,
    capabilities=Capabilities(
        # A queue keeps its messages until they are acknowledged: as long as all workers may be away.
        redelivers_for=timedelta(days=1),
        native_schedules=None,
        priorities=True,
        ordering=Ordering.PRIORITY,
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=_open_consumer,
    # AMQP counts the messages that are ready, not those that a worker holds.
    backlog=None,
    extra="rabbitmq",
)
