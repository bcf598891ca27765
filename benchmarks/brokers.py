"""The broker of each provider: started fresh for its measurements, with Horae and the raw client that use it."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import redis

from benchmarks.apps.raw_runs import RAN
from benchmarks.bench import Bench
from benchmarks.contender import APPS, Contender
from benchmarks.contenders import horae, raw
from benchmarks.errors import BenchError
from benchmarks.horae_project import variables
from benchmarks.processes import undisturbed
from tests.brokers.kafka import KafkaServer
from tests.brokers.nats import NatsServer
from tests.brokers.rabbitmq import RabbitServer
from tests.requirements import REQUIREMENTS

HORAE, RAW, REDIS = "horae", "raw", "horae on redis"
STORE_ITSELF = "redis"
"""The provider whose messages the store's own server carries."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A server that is not the store, and what its clients need."""

    server: NatsServer | RabbitServer | KafkaServer
    address: str
    setting: str
    """The environment variable of Horae that takes the address."""
    end: Callable[[], None]
    client: str
    """How the raw client works; a sentence for the report."""


def _nats(folder: Path) -> Broker:
    server = NatsServer(folder)
    return Broker(
        server=server,
        address=server.url,
        setting="HORAE_QUEUE__NATS__URL",
        end=server.kill,
        client="nats-py: publish_async with Nats-Msg-Id, fetch of 500, an acknowledgement for each message",
    )


def _rabbitmq(folder: Path) -> Broker:
    server = RabbitServer(folder)
    return Broker(
        server=server,
        address=server.url,
        setting="HORAE_QUEUE__RABBITMQ__URL",
        end=server.end,
        client="aio-pika: quorum queue, confirms, prefetch of 500, one acknowledgement for each batch",
    )


def _kafka(folder: Path) -> Broker:
    server = KafkaServer(folder)
    return Broker(
        server=server,
        address=server.bootstrap,
        setting="HORAE_QUEUE__KAFKA__BOOTSTRAP_SERVERS",
        end=server.kill,
        client="aiokafka: idempotent producer, 12 partitions, batches of 500, a commit for each batch",
    )


BROKERS: dict[str, Callable[[Path], Broker]] = {"nats": _nats, "rabbitmq": _rabbitmq, "kafka": _kafka}


@contextmanager
def contenders_on(bench: Bench, provider: str) -> Iterator[Mapping[str, Contender]]:
    """Horae, the raw client and, if that is another, Horae on redis, while the broker runs. Raises BenchError if it
    cannot be started.
    """
    on_redis = replace(horae.CONTENDER, name=f"horae-{STORE_ITSELF}")
    if provider == STORE_ITSELF:
        yield {HORAE: on_redis, RAW: replace(raw.CONTENDER, name=f"raw-{provider}")}
        return
    with _running(bench, provider) as broker:
        yield {HORAE: _horae(provider, broker), RAW: _raw(provider, broker), REDIS: on_redis}


@contextmanager
def _running(bench: Bench, provider: str) -> Iterator[Broker]:
    requirement = REQUIREMENTS[provider]
    if not requirement.there():
        raise BenchError(f"its server is missing: {requirement.how}")
    folder = bench.folder / provider
    folder.mkdir()
    broker = BROKERS[provider](folder)
    try:
        _start(broker)
        bench.say(f"{provider} is process {broker.server.process.pid}")
        yield broker
    finally:
        with undisturbed():
            broker.end()


def _start(broker: Broker) -> None:
    try:
        with undisturbed():
            broker.server.start()
    except (AssertionError, subprocess.CalledProcessError) as error:
        raise BenchError(f"its server did not start: {error}") from error


def _horae(provider: str, broker: Broker) -> Contender:
    more = {"HORAE_QUEUE__PROVIDER": provider, broker.setting: broker.address}
    return replace(
        horae.CONTENDER,
        name=f"horae-{provider}",
        environment=lambda place: {**variables(place.url), **more},
    )


def _raw(provider: str, broker: Broker) -> Contender:
    app = f"raw_{provider}_app"
    return Contender(
        name=f"raw-{provider}",
        app=app,
        setup=f"{broker.client}; one hash for each run in Valkey (redis-py, sync)",
        worker=lambda place: [str(place.python), "-m", f"{APPS}.{app}", "work"],
        finished=lambda client, filled: _ran(client),
        share=2,
        peer=False,
        environment=lambda place: {"BENCH_BROKER": broker.address},
    )


def _ran(client: "redis.Redis") -> int:
    count = client.get(RAN)
    return int(count) if isinstance(count, str) else 0
