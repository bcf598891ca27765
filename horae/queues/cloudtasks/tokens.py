"""Verifies the token that each call of Cloud Tasks carries (OpenID Connect)."""

import asyncio
from typing import Any

import jwt

from horae.clock import monotonic
from horae.queues.cloudtasks.settings import CloudTasksSettings

ALGORITHMS = ("RS256", "ES256")
LEEWAY_SECONDS = 30
"""How far the clocks of Google and of this host may be apart."""
KEYS_SECONDS = 3600.0
"""How long keys are kept."""
AGAIN_SECONDS = 5.0
"""A token with an unknown key makes the receiver fetch the keys, but not more often than this."""
TIMEOUT_SECONDS = 5


class Refused(Exception):
    """The token is not valid. The text says why."""


class KeysUnavailable(Exception):
    """The issuer's keys cannot be fetched, so no token can be verified now."""


class Tokens:
    def __init__(self, table: CloudTasksSettings) -> None:
        self._table = table
        self._client = jwt.PyJWKClient(table.keys_url, cache_jwk_set=False, timeout=TIMEOUT_SECONDS)
        self._keys: dict[str, Any] = {}
        self._tried = -KEYS_SECONDS
        self._failed = ""
        """Why the last attempt to fetch the keys failed; empty if it did not."""
        self._fetching = asyncio.Lock()

    async def verify(self, header: str) -> None:
        """Check signature, issuer, audience, expiry and service account of an `Authorization` header.

        Raises Refused or KeysUnavailable.
        """
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("the call carries no token (Authorization: Bearer ...)")
        try:
            name = str(jwt.get_unverified_header(token.strip()).get("kid"))
            claims = self._claims(token.strip(), await self._key(name))
        except jwt.PyJWTError as error:
            raise Refused(f"the token is refused: {error}") from error
        self._judge(claims)

    async def _key(self, name: str) -> Any:
        """The key of that name. Keys are fetched each KEYS_SECONDS, and for an unknown name, but never more often than
        each AGAIN_SECONDS. If that fails, the known keys stay.

        Raises KeysUnavailable, or InvalidKeyError for an unknown name.
        """
        async with self._fetching:
            age = monotonic() - self._tried
            if age > KEYS_SECONDS or ((name not in self._keys or self._failed) and age > AGAIN_SECONDS):
                await self._fetch()
        if name in self._keys:
            return self._keys[name]
        if self._failed:
            raise KeysUnavailable(f"the keys at {self._table.keys_url} cannot be fetched: {self._failed}")
        raise jwt.InvalidKeyError(f"no key of {self._table.keys_url} is named {name!r}")

    async def _fetch(self) -> None:
        try:
            found = await asyncio.to_thread(self._client.get_signing_keys)
        except (jwt.PyJWTError, ValueError, AttributeError, OSError) as error:  # also for an answer that is no key set
            self._failed = str(error) or type(error).__name__
        else:
            self._keys, self._failed = {str(key.key_id): key for key in found}, ""
        self._tried = monotonic()

    def _claims(self, token: str, key: Any) -> dict[str, Any]:
        # Google's tokens name the issuer with and without the scheme.
        issuer = self._table.issuer
        return jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=self._table.audience or self._table.receiver_url,
            issuer=[issuer, issuer.removeprefix("https://")],
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iat", "iss", "aud"]},
        )

    def _judge(self, claims: dict[str, Any]) -> None:
        if claims.get("email") != self._table.service_account or claims.get("email_verified") is not True:
            raise Refused(f"the token is that of {claims.get('email')!r}, not of {self._table.service_account}")
