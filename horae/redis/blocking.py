"""Connections for threads. Each new connection goes to the current primary."""

from typing import Any

from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError, ResponseError

from horae.redis.locator import Locator, is_elsewhere


class PlainConnection(Connection):
    def __init__(self, *, locator: Locator, **options: Any) -> None:
        self._locator = locator
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> Any:
        self.host, self.port = self._locator.find_blocking()
        return super()._connect()  # type: ignore[no-untyped-call]

    def send_packed_command(self, *arguments: Any, **options: Any) -> None:
        if self._locator.directory.question and self.is_connected:
            try:
                self._locator.check_blocking((self.host, self.port))
            except ConnectionError:
                self.disconnect()  # type: ignore[no-untyped-call]
                raise
        super().send_packed_command(*arguments, **options)  # type: ignore[no-untyped-call]

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """If the server answers that it is not the primary (any more), close and raise ConnectionError."""
        try:
            return super().read_response(*arguments, **options)
        except ResponseError as error:
            if not is_elsewhere(error):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise self._locator.distrust(error, (self.host, self.port)) from error


class TlsConnection(PlainConnection, SSLConnection):
    pass
