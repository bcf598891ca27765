"""The HTTP connection to Prefect's REST API: retries while the server is busy, and errors as Horae's errors."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from horae.errors import PrefectUnavailable, UsageError
from horae.urls import shown, without_login

if TYPE_CHECKING:
    import httpx

TIMEOUT_SECONDS = 10.0
BUSY_STATUSES = {429, 502, 503, 504}
BUSY_WAIT_SECONDS = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts when the server is busy. On SQLite it answers 503 while the database is locked."""


class PrefectConnection:
    """Use it as an async context manager."""

    def __init__(self, url: str, api_key: str | None = None) -> None:
        """`url` has the form of PREFECT_API_URL and ends in `/api`."""
        self._address, self._login = without_login(url.rstrip("/"))
        self.url = shown(self._address)
        """The URL without its login, safe to show."""
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._stack = AsyncExitStack()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        import httpx

        client = httpx.AsyncClient(
            headers=self._headers, auth=self._login, timeout=TIMEOUT_SECONDS, follow_redirects=True
        )
        self._client = await self._stack.enter_async_context(client)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        tries: int | None = None,
        conflict_is_fine: bool = False,
    ) -> Any:
        """The answer's JSON, or True if it has no body. None for 404, and for 409 if the caller allows it.

        Raises PrefectUnavailable if the server does not answer, fails or refuses the key, and UsageError with the
        server's message if it refuses the request.
        """
        waits = (*BUSY_WAIT_SECONDS, None)[-(tries or len(BUSY_WAIT_SECONDS) + 1) :]
        for wait in waits:
            answer = await self._send(method, path, body, last=wait is None)
            if wait is not None and (answer is None or answer.status_code in BUSY_STATUSES):
                await asyncio.sleep(wait)
                continue
            break
        assert answer is not None, "the last attempt has an answer or raises"
        if answer.status_code == 404 or (answer.status_code == 409 and conflict_is_fine):
            return None
        if answer.status_code in {401, 403}:
            raise PrefectUnavailable(f"Prefect at {self.url} refuses the API key; set PREFECT_API_KEY to a valid key")
        if answer.status_code >= 500 or answer.status_code in BUSY_STATUSES:
            raise PrefectUnavailable(f"Prefect at {self.url} answered {method} {path} with {answer.status_code}")
        if answer.status_code >= 400:
            raise UsageError(f"Prefect refused {method} {path} ({answer.status_code}): {answer.text[:500]}")
        try:
            found = answer.json() if answer.content else None
        except ValueError as error:
            raise PrefectUnavailable(
                f"the server at {self.url} answers, but not as Prefect's API; does the URL end in /api?"
            ) from error
        return True if found is None else found

    async def _send(
        self, method: str, path: str, body: Mapping[str, Any] | Sequence[Any] | None, *, last: bool
    ) -> "httpx.Response | None":
        """None if the connection ended under the request, and this is not the last attempt: the server closes one that
        was idle for some seconds, maybe just now.
        """
        import httpx

        if self._client is None:
            raise RuntimeError("use PrefectApi as an async context manager")
        try:
            return await self._client.request(method, self._address + path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if not last and isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
                return None
            why = str(error) or type(error).__name__
            raise PrefectUnavailable(f"Prefect at {self.url} does not answer: {why}") from error
