"""Creates tasks. Google has stored a task when the call that creates it returns."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
from google.api_core import exceptions as google
from google.auth.exceptions import GoogleAuthError
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.oauth2 import service_account
from google.protobuf.duration_pb2 import Duration

from horae.clock import now
from horae.errors import QueueError, QueueUnavailable
from horae.messages import Message, Priority
from horae.queues.base import Backlog
from horae.queues.cloudtasks.settings import TASK_BYTES, CloudTasksSettings

TIMEOUT_SECONDS = 5.0
AT_ONCE = 100
"""The most calls that wait for their answer together."""
COUNTED = 1000
"""Tasks in one page of the list. `backlog` does not count further in a queue in which so many wait."""
PAGES = 10
"""The most pages of a queue that `backlog` looks at. Tasks that wait for their time may fill all of them."""
ANSWER_SECONDS = 30
"""Cloud Tasks gives the receiver this long to answer, and then calls again."""
BACKOFF = (Duration(seconds=1), Duration(seconds=10))
"""Cloud Tasks calls again after this time at least, and at most."""
UNLIMITED = -1
SCOPE = "https://www.googleapis.com/auth/cloud-tasks"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise the client's errors as Horae's errors."""
    try:
        yield
    except google.PermissionDenied as error:
        raise QueueUnavailable(
            f"{where} refuses these credentials: {error.message}. Give the account the roles that it needs: gcloud "
            "projects add-iam-policy-binding PROJECT --member=serviceAccount:ACCOUNT --role=roles/cloudtasks.admin"
        ) from error
    except google.Unauthenticated as error:
        raise QueueUnavailable(f"{where} refuses these credentials: {error.message}") from error
    except google.InvalidArgument as error:
        raise QueueError(f"{where} refuses a request: {error.message}") from error
    except (google.GoogleAPICallError, google.RetryError, grpc.aio.AioRpcError, TimeoutError) as error:
        raise QueueUnavailable(f"{where} does not answer: {getattr(error, 'message', '') or error!r}") from error
    except GoogleAuthError as error:
        raise QueueUnavailable(f"no credentials for {where}: {error}. Set queue.cloudtasks.credentials_file") from error


class CloudTasksPublisher:
    def __init__(self, table: CloudTasksSettings, namespace: str, limit_bytes: int) -> None:
        self._table, self._limit_bytes = table, limit_bytes
        parent = f"projects/{table.project}/locations/{table.location}"
        self._parent = parent
        self.queues = {one: f"{parent}/queues/{namespace}-{one.value}" for one in Priority}
        """The full name of each priority's queue."""
        self._where = f"Cloud Tasks at {table.endpoint or parent}"
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Raises MessageTooLarge for a message over TASK_BYTES, before any is published."""
        await self._create_all([(self.queues[one.priority], self._task(one)) for one in messages])

    async def schedule(self, messages: Sequence[tuple[Message, datetime]]) -> None:
        """Like `publish`. Cloud Tasks calls the receiver for each message at its instant."""
        await self._create_all(
            [(self.queues[one.priority], self._task(one) | {"schedule_time": at}) for one, at in messages]
        )

    async def _create_all(self, tasks: Sequence[tuple[str, dict[str, Any]]]) -> None:
        client = await self._ready()
        for start in range(0, len(tasks), AT_ONCE):
            try:
                with translated(self._where):
                    await asyncio.gather(*(self._create(client, *one) for one in tasks[start : start + AT_ONCE]))
            except QueueUnavailable:
                # A queue may have been deleted: the next step connects again and creates it.
                await self.close()
                raise

    async def _create(self, client: Any, queue: str, task: dict[str, Any]) -> None:
        with suppress(google.AlreadyExists):  # an earlier call created it
            await client.create_task(parent=queue, task=task, timeout=TIMEOUT_SECONDS, retry=None)

    def _task(self, message: Message) -> dict[str, Any]:
        token = {"service_account_email": self._table.service_account, "audience": self._audience}
        return {
            "name": f"{self.queues[message.priority]}/tasks/{message.delivery_id.replace(':', '-')}",
            "dispatch_deadline": Duration(seconds=ANSWER_SECONDS),
            "http_request": {
                "url": self._table.receiver_url,
                "http_method": tasks_v2.HttpMethod.POST,
                "headers": {"Content-Type": "application/json"},
                "body": message.encode(min(self._limit_bytes, TASK_BYTES)),
                "oidc_token": token,
            },
        }

    @property
    def _audience(self) -> str:
        return self._table.audience or self._table.receiver_url

    async def _ready(self) -> Any:
        """A client whose queues exist. Raises QueueUnavailable or QueueError."""
        async with self._opening:
            if self._client is None:
                with translated(self._where):
                    client = await asyncio.to_thread(self._connect) if not self._table.endpoint else self._emulated()
                    try:
                        for queue in self.queues.values():
                            await self._declare(client, queue)
                    except BaseException:
                        await client.transport.close()
                        raise
                self._client = client
            return self._client

    def _emulated(self) -> Any:
        # A channel of its own: otherwise gRPC goes on waiting where an earlier channel failed.
        channel = grpc.aio.insecure_channel(self._table.endpoint, options=[("grpc.use_local_subchannel_pool", 1)])
        return tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))

    def _connect(self) -> Any:
        file = self._table.credentials_file
        if file is None:
            return tasks_v2.CloudTasksAsyncClient()
        try:
            key: Any = service_account.Credentials
            credentials = key.from_service_account_file(str(file), scopes=[SCOPE])
        except (OSError, ValueError) as error:
            raise QueueUnavailable(f"credentials_file {file} cannot be used: {error}") from error
        return tasks_v2.CloudTasksAsyncClient(credentials=credentials)

    async def _declare(self, client: Any, name: str) -> None:
        wanted = {
            "name": name,
            "retry_config": {"max_attempts": UNLIMITED, "min_backoff": BACKOFF[0], "max_backoff": BACKOFF[1]},
        }
        try:
            queue = await client.create_queue(parent=self._parent, queue=wanted, timeout=TIMEOUT_SECONDS, retry=None)
        except google.AlreadyExists:
            queue = await client.get_queue(name=name, timeout=TIMEOUT_SECONDS, retry=None)
        except google.FailedPrecondition as error:
            raise QueueError(
                f"{self._where} cannot create the queue {name}: {error.message}. After a queue was deleted, its name "
                "cannot be used for some days; use another namespace meanwhile"
            ) from error
        self._judge(queue)

    def _judge(self, queue: Any) -> None:
        short, at = queue.name.rsplit("/", 1)[-1], f"--location={self._table.location}"
        if queue.state != tasks_v2.Queue.State.RUNNING:
            raise QueueError(
                f"the queue {queue.name} is {queue.state.name.lower()}, so no task leaves it. Resume it: "
                f"gcloud tasks queues resume {short} {at}"
            )
        config = queue.retry_config
        if config.max_attempts != UNLIMITED or config.max_backoff > BACKOFF[1].ToTimedelta():
            raise QueueError(
                f"the queue {queue.name} gives up after some attempts, or waits more than {BACKOFF[1].seconds} s "
                f"between them. Change that: gcloud tasks queues update {short} {at} --max-attempts=unlimited "
                f"--max-backoff={BACKOFF[1].seconds}s"
            )

    async def check(self) -> None:
        client = await self._ready()
        try:
            with translated(self._where):
                for name in self.queues.values():
                    self._judge(await client.get_queue(name=name, timeout=TIMEOUT_SECONDS, retry=None))
        except QueueError:
            await self.close()
            raise

    async def backlog(self) -> Backlog:
        """Looks at up to PAGES * COUNTED tasks of each queue, and takes any others for one task that waits."""
        client, waiting = await self._ready(), list[datetime]()
        try:
            with translated(self._where):
                for name in self.queues.values():
                    waiting += await self._waiting(client, name)
        except QueueUnavailable:
            await self.close()
            raise
        return Backlog(messages=len(waiting), oldest=max(now() - min(waiting, default=now()), timedelta(0)))

    async def _waiting(self, client: Any, queue: str) -> list[datetime]:
        """Since when each task of a queue waits for the receiver. Tasks that wait for their time are left out."""
        found, token = list[datetime](), ""
        for _ in range(PAGES):
            request = {"parent": queue, "page_size": COUNTED, "page_token": token}
            page = await client.list_tasks(request=request, timeout=TIMEOUT_SECONDS, retry=None)
            found += [since for since in map(_waits_since, page.tasks) if since <= now()]
            token = page.next_page_token
            if not token or len(found) >= COUNTED:
                return found
        return [*found, now()]

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.transport.close()


def _waits_since(task: Any) -> datetime:
    """When the task was first due."""
    first = task.first_attempt.dispatch_time if task.dispatch_count else task.schedule_time
    return datetime.fromtimestamp(first.timestamp(), UTC)
