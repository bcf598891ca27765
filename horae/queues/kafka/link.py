"""The connection to Kafka, and the topics: created if they are missing, and checked."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn

from horae.errors import QueueError, QueueUnavailable
from horae.messages import Priority
from horae.queues.kafka import RETENTION, KafkaSettings

TIMEOUT_SECONDS = 5.0
CLOSE_SECONDS = 3.0
CUT_SECONDS = 0.5
LEAST_RETENTION = timedelta(days=1)
LOOK_SECONDS = 0.05
TOPIC_EXISTS = 36
REFUSALS = (
    errors.AuthenticationFailedError,
    errors.SaslAuthenticationFailed,
    errors.AuthenticationMethodNotSupported,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)
FORBIDDEN = (
    errors.TopicAuthorizationFailedError,
    errors.GroupAuthorizationFailedError,
    errors.ClusterAuthorizationFailedError,
)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise errors of the client as Horae's errors."""
    try:
        yield
    except REFUSALS as error:
        raise QueueUnavailable(f"the queue at {url} refuses these credentials: {_text(error)}") from error
    except FORBIDDEN as error:
        raise QueueUnavailable(
            f"the queue at {url} refuses this user: {_text(error)}. Allow the user to create, describe, read and "
            "write the topics NAMESPACE.queue.* and to read the group NAMESPACE.workers: kafka-acls.sh --add"
        ) from error
    except (errors.KafkaError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
        raise QueueUnavailable(f"the queue at {url} does not answer: {_text(error)}") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # The client cancels tasks that wait on a connection that ends.
        raise QueueUnavailable(f"the connection to the queue at {url} is closed") from error


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def topic_of(namespace: str, priority: Priority) -> str:
    return f"{namespace}.queue.{priority.value}"


def group_of(namespace: str) -> str:
    return f"{namespace}.workers"


def address_of(table: KafkaSettings) -> str:
    return ",".join(f"kafka://{server}" for server in table.servers)


def options_of(table: KafkaSettings) -> dict[str, Any]:
    """The options of every client. Reads the credential files."""
    login = table.login()
    tls = table.tls or bool(table.tls_given)
    options: dict[str, Any] = {"security_protocol": ("SASL_" if login else "") + ("SSL" if tls else "PLAINTEXT")}
    if tls:
        options["ssl_context"] = table.tls_context()
    if login:
        options |= {
            "sasl_mechanism": table.sasl_mechanism,
            "sasl_plain_username": login[0],
            "sasl_plain_password": login[1],
        }
    return options


async def first_contact(table: KafkaSettings, options: Mapping[str, Any]) -> None:
    """Raises the error of the brokers. The clients only log it and then report that there is no broker."""
    failed: Exception | None = None
    for server in table.servers:
        host, _, port = server.rpartition(":")
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                connection = await create_conn(
                    host.strip("[]"), int(port), request_timeout_ms=int(TIMEOUT_SECONDS * 1000), **options
                )
        except REFUSALS:
            raise
        except (errors.KafkaError, OSError, TimeoutError, asyncio.IncompleteReadError) as error:
            failed = error
        else:
            connection.close()
            return
    raise failed or ConnectionError("no broker is configured")


async def ended(client: Any) -> None:
    """Stop a client without waiting long, and close its connections. Ignore its errors, because it is not used
    again.
    """
    stop = getattr(client, "stop", None) or client.close
    stopped = False
    try:
        stopped = await _done(stop(), CLOSE_SECONDS)
    finally:  # also if the caller does not wait so long
        if not stopped:
            # It waits for brokers that do not answer, and leaves its connections open if it is cancelled.
            await _done((getattr(client, "client", None) or client._client).close(), CUT_SECONDS)


async def _done(step: Coroutine[Any, Any, None], seconds: float) -> bool:
    task = asyncio.create_task(step)  # a client that stops may leak the cancellation of its own tasks
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        _, late = await asyncio.wait({task}, timeout=seconds)
    finally:
        task.cancel()
    return not late


class Topics:
    """The topics of a namespace."""

    def __init__(self, table: KafkaSettings, namespace: str) -> None:
        self._table, self.url = table, address_of(table)
        self.names = {priority: topic_of(namespace, priority) for priority in Priority}

    async def declare(self, options: Mapping[str, Any]) -> None:
        """Raises QueueError for a topic that could lose accepted messages, with the command that corrects it."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self._table.servers, request_timeout_ms=int(TIMEOUT_SECONDS * 1000), **options
        )
        try:
            await admin.start()
            await self._create(admin)
            await self._check(admin)
        finally:
            await ended(admin)

    async def _create(self, admin: AIOKafkaAdminClient) -> None:
        there = await admin.list_topics()
        absent = [name for name in self.names.values() if name not in there]
        if not absent:
            return
        brokers = len((await admin.describe_cluster())["brokers"])
        replicas = self._table.replicas or min(3, brokers)
        configs = {
            "cleanup.policy": "delete",
            "retention.ms": str(RETENTION // timedelta(milliseconds=1)),
            "retention.bytes": "-1",
            "min.insync.replicas": str(2 if replicas > 2 else 1),
        }
        new = [NewTopic(name, self._table.partitions, replicas, topic_configs=configs) for name in absent]
        answer = await admin.create_topics(new)
        for name, code, *text in answer.topic_errors:
            if code and code != TOPIC_EXISTS:
                error = errors.for_code(code)
                if issubclass(error, FORBIDDEN):
                    raise error(name)
                raise QueueError(f"Kafka at {self.url} does not create the topic {name}: {text[0] or error.__name__}")

    async def _check(self, admin: AIOKafkaAdminClient) -> None:
        found = await self._described(admin)
        for one in found:
            if len(one["partitions"]) < self._table.partitions:
                raise QueueError(
                    f"the topic {one['topic']} on Kafka at {self.url} has {len(one['partitions'])} partitions, but "
                    f"queue.kafka.partitions is {self._table.partitions}. Correct it: kafka-topics.sh --alter "
                    f"--topic {one['topic']} --partitions {self._table.partitions}"
                )
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in self.names.values()]
        for answer in await admin.describe_configs(wanted):
            for _code, _text, _type, name, entries in answer.resources:
                self._check_configuration(name, {entry[0]: entry[1] for entry in entries})

    async def _described(self, admin: Any) -> list[dict[str, Any]]:
        """The topics, when all brokers know a new one."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while True:
                found: list[dict[str, Any]] = await admin.describe_topics([*self.names.values()])
                if all(map(self._known, found)):
                    return found
                await asyncio.sleep(LOOK_SECONDS)

    @staticmethod
    def _known(topic: Mapping[str, Any]) -> bool:
        partitions = topic["partitions"]
        return not topic["error_code"] and bool(partitions) and all(one["leader"] >= 0 for one in partitions)

    def _check_configuration(self, name: str, found: Mapping[str, str]) -> None:
        """Kafka deletes a message by its age, claimed or not. The age must cover an outage of all workers, and must not
        exceed the ledger's retention.
        """
        kept = timedelta(milliseconds=int(found.get("retention.ms", -1)))
        wanted = RETENTION // timedelta(milliseconds=1)
        wrong = {
            "retention.ms": not LEAST_RETENTION <= kept <= RETENTION and str(wanted),
            "retention.bytes": found.get("retention.bytes", "-1") != "-1" and "-1",
            "cleanup.policy": found.get("cleanup.policy", "delete") != "delete" and "delete",
        }
        for key, right in wrong.items():
            if right:
                raise QueueError(
                    f"the topic {name} on Kafka at {self.url} has {key} {found[key]}. Required: {right}. Otherwise "
                    "Kafka can lose accepted messages, or deliver them after the ledger has deleted their runs. "
                    f"Correct it: kafka-configs.sh --alter --entity-type topics --entity-name {name} --add-config "
                    f"{key}={right}"
                )
