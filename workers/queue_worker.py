"""The main of the queue worker as a container service."""

from horae import settings
from horae.runners import queue_worker

if __name__ == "__main__":
    queue_worker.main(settings.load())
