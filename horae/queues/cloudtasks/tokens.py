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
        self._fetched = -KEYS_SECONDS
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
        except jwt.PyJWKClientConnectionError as error:
            raise KeysUnavailable(f"the keys at {self._table.keys_url} cannot be fetched: {error}") from error
        except jwt.PyJWTError as error:
            raise Refused(f"the token is refused: {error}") from error
        self._judge(claims)

    async def _key(self, name: str) -> Any:
        """The key of that name. An unknown name makes it fetch the keys, at most once in AGAIN_SECONDS."""
        async with self._fetching:
            age = monotonic() - self._fetched
            if age > KEYS_SECONDS or (name not in self._keys and age > AGAIN_SECONDS):
                found = await asyncio.to_thread(self._client.get_signing_keys)
                self._keys, self._fetched = {str(key.key_id): key for key in found}, monotonic()
        if name not in self._keys:
            raise jwt.InvalidKeyError(f"no key of {self._table.keys_url} is named {name!r}")
        return self._keys[name]

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
