"""The main of the sidecar as a container service."""

from horae import settings
from horae.runners import sidecar

if __name__ == "__main__":
    sidecar.main(settings.load())
