"""A bucket of an S3-compatible server that keeps copies of backups."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from horae import clock
from infra._backup.artefact import COMPANIONS, MANIFEST, named
from infra._backup.engine import BackupFailed
from infra._backup.settings import BucketSettings

MISSING = "a bucket needs the library boto3; install it with: pip install 'horae[backup]'"
PART_BYTES = 16 << 20
STALE_SECONDS = 86_400
REASONS = {
    "NoSuchBucket": "there is no such bucket; create it, or correct `bucket`",
    "AccessDenied": "the login may not do this; it needs s3:ListBucket, GetObject, PutObject, DeleteObject, "
    "ListBucketMultipartUploads and AbortMultipartUpload",
    "InvalidAccessKeyId": "the server does not know the access key",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "403": "the login is refused, or may not do this",
    "404": "there is no such bucket or object",
}


@dataclass(frozen=True, slots=True)
class Bucket:
    """Opened by `opened`. Objects are named by the file names of backups; the prefix is left out."""

    settings: BucketSettings
    client: Any

    def __str__(self) -> str:
        return f"s3://{self.settings.bucket}/{self.settings.prefix}"

    def sizes(self) -> dict[str, int]:
        """Bytes of each object with the prefix, by name; names of deeper folders are left out."""
        with self._translated("list the objects"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.settings.bucket, Prefix=self.settings.prefix
            )
            found = {one["Key"]: int(one["Size"]) for page in pages for one in page.get("Contents", ())}
        start = len(self.settings.prefix)
        return {key[start:]: size for key, size in found.items() if "/" not in key[start:]}

    def put(self, folder: Path, name: str) -> None:
        """Copy a backup and what belongs to it; the backup itself last, so that it is there only with them."""
        self._abort(name)
        for companion in (*COMPANIONS, ""):
            path = folder / (name + companion)
            if companion == MANIFEST and not path.exists():  # older backups have none
                continue
            with self._translated(f"write {path.name}"):
                self.client.upload_file(str(path), self.settings.bucket, self._key(path.name), Config=self._transfer())
                size = self.client.head_object(Bucket=self.settings.bucket, Key=self._key(path.name))["ContentLength"]
            if size != path.stat().st_size:
                raise BackupFailed(f"{self} holds {size} bytes of {path.name}, which has {path.stat().st_size}")

    def get(self, name: str, to: Path) -> None:
        with self._translated(f"read {name}"):
            self.client.download_file(self.settings.bucket, self._key(name), str(to), Config=self._transfer())

    def remove(self, names: Sequence[str]) -> None:
        """Remove these objects, one by one: some servers do not know the call for many."""
        for name in names:
            with self._translated(f"delete {name}"):
                self.client.delete_object(Bucket=self.settings.bucket, Key=self._key(name))

    def abort_stale(self) -> None:
        """End uploads of backups that began more than a day ago: their runs are dead, and the parts cost money."""
        for key, upload, began in self._uploads(self.settings.prefix):
            if named(key.removeprefix(self.settings.prefix)) and (clock.now() - began).total_seconds() > STALE_SECONDS:
                self._end(key, upload)

    def _abort(self, name: str) -> None:
        """End what a dead run began to upload under this name."""
        for key, upload, _ in self._uploads(self._key(name)):
            if key == self._key(name):
                self._end(key, upload)

    def _end(self, key: str, upload: str) -> None:
        with self._translated(f"end the unfinished upload of {key}"):
            self.client.abort_multipart_upload(Bucket=self.settings.bucket, Key=key, UploadId=upload)

    def _uploads(self, prefix: str) -> list[tuple[str, str, Any]]:
        """Key, id and begin of each unfinished upload; empty if the server has no such list."""
        from botocore.exceptions import ClientError

        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.settings.bucket, Prefix=prefix)
        with self._translated("list unfinished uploads"):
            try:
                pages = list(pages)
            except ClientError as error:
                if error.response["Error"]["Code"] in ("NotImplemented", "MethodNotAllowed"):
                    return []
                raise
            return [
                (one["Key"], one["UploadId"], one["Initiated"]) for page in pages for one in page.get("Uploads", ())
            ]

    def _key(self, name: str) -> str:
        return self.settings.prefix + name

    def _transfer(self) -> Any:
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2, use_threads=False
        )

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        with translated(f"cannot {what} in {self}", self.settings):
            yield


def opened(settings: BucketSettings, project: Path) -> Bucket:
    """Raises BackupFailed. Nothing is asked of the server yet."""
    try:
        import boto3
        import botocore.session
        from botocore.config import Config
    except ImportError:
        raise BackupFailed(MISSING) from None
    session = botocore.session.Session(profile=settings.profile)
    if settings.credentials_file:
        path = project / Path(settings.credentials_file).expanduser()
        if not path.is_file():
            raise BackupFailed(f"[jobs.database-backup.s3] credentials_file: there is no file {path}")
        session.set_config_variable("credentials_file", str(path))
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": "path" if settings.endpoint else "auto"},
        # Servers other than Amazon's refuse the checksums that newer clients add by themselves.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    with translated("cannot use the bucket", settings):
        region = settings.region or session.get_config_variable("region") or "us-east-1"
        client = boto3.Session(botocore_session=session).client(
            "s3",
            endpoint_url=settings.endpoint,
            region_name=region,
            verify=str(project / Path(settings.ca_file).expanduser()) if settings.ca_file else None,
            config=config,
        )
    return Bucket(settings, client)


@contextmanager
def translated(what: str, settings: BucketSettings) -> Iterator[None]:
    """Turns errors of the library into BackupFailed, with what to do."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError, NoCredentialsError

    where = settings.endpoint or "Amazon S3"
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise BackupFailed(f"{what} ({where}): {REASONS.get(code, error)}") from None
    except NoCredentialsError:
        raise BackupFailed(
            f"{what} ({where}): no credentials were found; set credentials_file or profile in "
            "[jobs.database-backup.s3], or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    except EndpointConnectionError:
        raise BackupFailed(f"{what}: {where} does not answer; check `endpoint` and the network") from None
    except (BotoCoreError, Boto3Error, ValueError) as error:
        raise BackupFailed(f"{what} ({where}): {_cause(error)}") from None


def _cause(error: BaseException) -> str:
    """boto3 wraps the error of a transfer in a sentence; its last part is the reason."""
    text = str(error)
    return next((reason for code, reason in REASONS.items() if f"({code})" in text), text)
