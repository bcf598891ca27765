"""The main of the receiver as a container service."""

from horae import settings
from horae.runners import receiver

if __name__ == "__main__":
    receiver.main(settings.load())
