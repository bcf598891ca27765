"""Secret blocks of Prefect. Flows read a secret by its name: `Secret.load("shop-cache").get()`.

What a rotation has to remember, old versions among it, is in a block of its own, `horae-rotation-NAME`.
"""

import json
from typing import Any

from horae.urls import shown
from infra._secrets.versions import Record, RotationFailed, Unreachable, record_of

TIMEOUT_SECONDS = 10.0


class PrefectStore:
    """Raises Unreachable when the server does not answer, RotationFailed when it refuses."""

    def __init__(self, api_url: str, api_key: str | None) -> None:
        self._url = api_url.rstrip("/")
        self._shown = shown(api_url)
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._kind: tuple[str, str] | None = None

    def read(self, name: str) -> Record | None:
        block = self._block(_own(name))
        if block is None:
            return None
        try:
            return record_of(json.loads(block["data"]["value"]))
        except (KeyError, TypeError, ValueError):
            raise RotationFailed(
                f"Prefect's block {_own(name)} contains no record that this program can read"
            ) from None

    def write(self, record: Record) -> None:
        self._save(_own(record.name), json.dumps(record.as_dict()))

    def publish(self, record: Record) -> None:
        if record.current:
            self._save(record.name, record.current.value)

    def _save(self, name: str, value: str) -> None:
        found = self._block(name)
        if found and found["data"].get("value") == value:
            return
        if found:
            body = {"data": {"value": value}, "merge_existing_data": False}
            self._call("PATCH", f"/block_documents/{found['id']}", body)
            return
        kind, schema = self._kinds()
        body = {"name": name, "data": {"value": value}, "block_type_id": kind, "block_schema_id": schema}
        self._call("POST", "/block_documents/", body)

    def _block(self, name: str) -> dict[str, Any] | None:
        found = self._call("GET", f"/block_types/slug/secret/block_documents/name/{name}?include_secrets=true")
        return dict(found) if found else None

    def _kinds(self) -> tuple[str, str]:
        """Ids of the type of secret blocks, and of its schema."""
        if self._kind is None:
            kind = self._call("GET", "/block_types/slug/secret")
            if not kind:
                raise RotationFailed(
                    "this Prefect server has no Secret blocks; run: prefect block register -m prefect.blocks.system"
                )
            wanted = {"block_schemas": {"block_type_id": {"any_": [kind["id"]]}}}
            [schema, *_] = self._call("POST", "/block_schemas/filter", wanted)
            self._kind = kind["id"], schema["id"]
        return self._kind

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        import httpx

        try:
            answer = httpx.request(
                method,
                self._url + path,
                json=body,
                headers=self._headers,
                timeout=TIMEOUT_SECONDS,
                follow_redirects=True,
            )
        except httpx.HTTPError as error:
            raise Unreachable(f"Prefect does not answer at {self._shown}: {type(error).__name__}") from None
        if answer.status_code == 404:
            return None
        if answer.status_code in (429, 502, 503, 504):
            raise Unreachable(f"Prefect at {self._shown} is busy ({answer.status_code})")
        if answer.is_error:  # its words may quote what was sent
            raise RotationFailed(
                f"Prefect at {self._shown} refuses {method} {path.partition('?')[0]}: {answer.status_code}"
            )
        return answer.json() if answer.content else None


def _own(name: str) -> str:
    return f"horae-rotation-{name}"
