"""A real S3 server of a test's own: versitygw, which keeps objects as files of a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from horae.local.ports import LOOPBACK, free_port
from tests.brokers.process import BrokerProcess
from tests.requirements import SERVERS

KEY, SECRET = "horae-test", "s3cret-s3cret"


def binary() -> Path:
    return SERVERS / "s3/versitygw"


class S3Server:
    def __init__(self, folder: Path) -> None:
        self.port, self.objects = free_port(), folder / "objects"
        self.objects.mkdir(parents=True)
        self.credentials = folder / "credentials"
        self.credentials.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        self.process = BrokerProcess("s3", folder)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        # Metadata beside the objects, because not every file system has extended attributes.
        sidecar = self.objects.with_name("metadata")
        sidecar.mkdir(exist_ok=True)
        command = [str(binary()), "--port", f"{LOOPBACK}:{self.port}", "--access", KEY, "--secret", SECRET, "--quiet"]
        self.process.start([*command, "posix", "--sidecar", str(sidecar), str(self.objects)], self._answers)

    def settings(self, bucket: str, **given: Any) -> dict[str, Any]:
        return {"endpoint": self.url, "bucket": bucket, "credentials_file": str(self.credentials), **given}

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        return boto3.client("s3", endpoint_url=self.url, config=config, **keys)

    def _answers(self) -> bool:
        try:
            return httpx.get(self.url, timeout=1).status_code < 500
        except httpx.HTTPError:
            return False


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.process.stop()
