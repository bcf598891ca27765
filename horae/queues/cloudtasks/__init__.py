"""Google Cloud Tasks: a queue for each priority. Google calls the receiver, a process of Horae, for each task.

A task leaves its queue when the receiver answers 200: after the claim, before the run begins. Until then Cloud Tasks
calls again, without end. The name of a task is the run's id and generation, so a publish that is repeated makes no
second task. A task may be created up to 30 days before its run is due.
"""

from datetime import timedelta
from typing import TYPE_CHECKING

from horae.queues.base import ALWAYS, Backlog, Capabilities, Ordering, Provider
from horae.queues.cloudtasks.settings import TASK_BYTES, CloudTasksSettings
from horae.settings import Settings

if TYPE_CHECKING:
    from horae.queues.cloudtasks.publisher import CloudTasksPublisher
    from horae.queues.cloudtasks.receiver import CloudTasksReceiver


def _missing(settings: Settings, table: CloudTasksSettings) -> str:
    return next((f"queue.cloudtasks.{name}" for name in table.REQUIRED if not getattr(table, name)), "")


def _open_publisher(settings: Settings, table: CloudTasksSettings) -> "CloudTasksPublisher":
    from horae.queues.cloudtasks.publisher import CloudTasksPublisher

    own = table.below(settings.project)
    return CloudTasksPublisher(own, settings.namespace, settings.queue.message_limit_bytes)


def _open_receiver(settings: Settings, table: CloudTasksSettings) -> "CloudTasksReceiver":
    from horae.queues.cloudtasks.receiver import CloudTasksReceiver

    return CloudTasksReceiver(table, settings.queue.message_limit_bytes)


async def _backlog(publisher: "CloudTasksPublisher") -> "Backlog":
    return await publisher.backlog()


PROVIDER = Provider(
    name="cloudtasks",
    title="Google Cloud Tasks",
    use_when="GCP, scheduled delivery",
    settings=CloudTasksSettings,
    capabilities=Capabilities(
        # Cloud Tasks keeps a task for 31 days.
        redelivers_for=timedelta(days=31),
        native_schedules=ALWAYS,
        # Cloud Tasks takes times up to 30 days ahead, by its own clock.
        schedules_ahead=timedelta(days=30) - timedelta(hours=1),
        priorities=True,
        ordering=Ordering.NONE,
        largest_bytes=TASK_BYTES,
        held=True,
    ),
    missing=_missing,
    open_publisher=_open_publisher,
    open_consumer=None,
    open_receiver=_open_receiver,
    backlog=_backlog,
    extra="cloudtasks",
)
