"""Kafka: a topic for each priority, one consumer group, an idempotent producer, and an answer of all in-sync replicas.

Kafka cannot acknowledge a single message. For each partition it stores the offset up to which the group is done. A
worker commits the offset before which everything is acknowledged, and never an earlier one than before. Share groups
can acknowledge single messages, but Horae does not use them: their clients are previews and cannot renew a lock.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from horae.queues.access import BrokerAccess
from horae.queues.base import Backlog, Capabilities, Ordering, Provider
from horae.settings import Settings

if TYPE_CHECKING:
    from horae.queues.kafka.consumer import KafkaConsumer
    from horae.queues.kafka.publisher import KafkaPublisher

PARTITIONS = 12
"""The least number of partitions. With more workers than partitions, some workers would get none."""
RETENTION = timedelta(days=7)
"""How long Kafka keeps a message, whether it is acknowledged or not."""


class KafkaSettings(BrokerAccess):
    bootstrap_servers: str | None = None
    """HOST:PORT of one or more brokers, separated by commas. Default: none."""
    tls: bool = False
    """Use TLS for the brokers. Default: no; yes if a TLS file is given."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How user and password are sent to a broker."""
    partitions: int = Field(PARTITIONS, ge=PARTITIONS, le=10_000)
    """Partitions of a topic, used when it is created. Further workers get no messages of it."""
    replicas: int | None = Field(None, ge=1, le=99)
    """Brokers that keep a copy of a topic, used when it is created. Default: 3, or fewer if there are fewer brokers."""
    session_seconds: float = Field(6, ge=6, le=300)
    """A worker that is silent for this many seconds is dead, and others get its partitions. The broker limits the
    value.
    """

    @property
    def servers(self) -> list[str]:
        return [part.strip() for part in self.bootstrap_servers.split(",")] if self.bootstrap_servers else []

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for server in self.servers:
            host, separator, port = server.rpartition(":")
            if not host or not separator or not port.isdigit() or "/" in server or "@" in server:
                raise ValueError("bootstrap_servers: give HOST:PORT for each broker, such as kafka:9092")
        if self.password_given and not self.username:
            raise ValueError("a password is given, but username is not; give both")
        return self

    @property
    def password_given(self) -> bool:
        return bool(self.password or self.password_file)


def _missing(settings: Settings, table: KafkaSettings) -> str:
    return "" if table.bootstrap_servers else "queue.kafka.bootstrap_servers"


def _open_publisher(settings: Settings, table: KafkaSettings) -> "KafkaPublisher":
    from horae.queues.kafka.publisher import KafkaPublisher

    own = table.below(settings.project)
    return KafkaPublisher(own, settings.namespace, settings.queue.message_limit_bytes)


def _open_consumer(settings: Settings, table: KafkaSettings, worker: str) -> "KafkaConsumer":
    from horae.queues.kafka.consumer import KafkaConsumer

    own = table.below(settings.project)
    return KafkaConsumer(own, settings.namespace, settings.queue.message_limit_bytes, worker)


async def _backlog(publisher: "KafkaPublisher") -> Backlog:
    return await publisher.backlog()


async def _own_backlog(consumer: "KafkaConsumer") -> int:
    return await consumer.behind()


PROVIDER = Provider(
    name="kafka",
    title="Kafka",
    use_when="High throughput, event log",
    settings=KafkaSettings,
    capabilities=Capabilities(
        # If someone resets the group's offsets, or they expire, the group gets all messages of the topics again.
        redelivers_for=RETENTION,
        native_schedules=None,
        priorities=True,
        ordering=Ordering.PARTITION,
        held=True,
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=_open_consumer,
    backlog=_backlog,
    own_backlog=_own_backlog,
    extra="kafka",
)
