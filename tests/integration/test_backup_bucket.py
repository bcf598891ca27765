"""The database backup and its restores with a bucket of a real S3 server."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest

from horae import clock
from horae.jobs.context import RunContext, running
from horae.jobs.restoring import RestoreOptions
from horae.local.ports import LOOPBACK, free_port
from infra._backup import bucket, sqlite
from infra._backup.engine import BackupFailed
from infra._backup.restoring import BackupRestorer
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
from tests.s3_server import S3Server, s3_server

pytestmark = pytest.mark.requires("s3")
ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
FEW: dict[str, Any] = {"keep_last": 1, "keep_daily": 2, "keep_weekly": 0, "keep_monthly": 0}
# Dies after the n-th request to the server, among them the parts of one large backup.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from botocore.httpsession import URLLib3Session
from horae.jobs.context import RunContext, running
from infra._backup import bucket
from infra._backup.settings import BackupSettings
from infra.database_backup import database_backup
bucket.PART_BYTES = 5 << 20
left, send = int(sys.argv[3]), URLLib3Session.send
def counted(self, request):
    global left
    answer = send(self, request)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer
URLLib3Session.send = counted
settings = BackupSettings.model_validate(json.loads(sys.argv[2]))
with running(RunContext(job="database-backup", run_id="r", project=Path(sys.argv[1]), settings=settings)):
    database_backup(databases=["shop.db"])
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture
def s3(server: S3Server, tmp_path: Path) -> dict[str, Any]:
    """Settings of a bucket of the test's own."""
    name = f"backups-{tmp_path.name.replace('_', '-')[:40].strip('-').lower()}"
    server.client().create_bucket(Bucket=name)
    return server.settings(name, prefix="host-1/")


@pytest.fixture
def project(project: Path) -> Path:
    fill(project / "shop.db", 100)
    return project


def fill(path: Path, rows: int) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS goods (name)")
        connection.executemany("INSERT INTO goods VALUES (?)", [(f"x{n}",) for n in range(rows)])


def back_up(project: Path, s3: dict[str, Any], told: list[str] | None = None, **settings: Any) -> dict[str, Any]:
    found = BackupSettings.model_validate({"s3": s3, **settings})
    report = ([] if told is None else told).append
    context = RunContext(job="database-backup", run_id="r", project=project, settings=found, report=report)
    with running(context):
        return database_backup(databases=["shop.db"])


def keys(server: S3Server, s3: dict[str, Any]) -> list[str]:
    found = server.client().list_objects_v2(Bucket=s3["bucket"]).get("Contents", [])
    return sorted(str(one["Key"]).removeprefix(s3["prefix"]) for one in found)


def put(server: S3Server, s3: dict[str, Any], name: str) -> None:
    server.client().put_object(Bucket=s3["bucket"], Key=s3["prefix"] + name, Body=b"somebody's")


def local(project: Path) -> list[str]:
    return sorted(path.name for path in (project / ".horae/backups").iterdir() if path.name != ".lock")


def restorer(project: Path, s3: dict[str, Any], **options: Any) -> BackupRestorer:
    return BackupRestorer(project, BackupSettings.model_validate({"s3": s3}), RestoreOptions(**options))


def test_a_new_machine_restores_from_the_bucket_alone(
    project: Path, server: S3Server, s3: dict[str, Any], tmp_path: Path
) -> None:
    identity = pyrage.x25519.Identity.generate()
    key = tmp_path / "key"
    key.write_text(str(identity))
    told: list[str] = []
    made = back_up(project, s3, told, recipients=[str(identity.to_public())], identity_file=str(key), drill="s3")[
        "databases"
    ][0]
    assert (made["drill"]["place"], made["drill"]["rows"], made["drill"]["differences"]) == ("s3", 100, [])
    assert f"copied to s3://{s3['bucket']}/host-1/, restore drilled from the bucket" in told[-1]
    assert keys(server, s3) == local(project)
    other = tmp_path / "other"
    other.mkdir()
    found = restorer(other, s3, identity=key)
    [backup] = found.backups()
    assert (backup.places, backup.encrypted, backup.bytes) == (("s3",), True, made["bytes"])
    result = found.restore(backup, str(tmp_path / "new.db"))
    assert (result.place, result.rows, result.compared, result.differences) == ("s3", 100, 1, [])
    assert sqlite.check(tmp_path / "new.db") == {"goods": 100}


def test_the_bucket_keeps_what_the_settings_say_and_all_that_is_not_ours(
    project: Path, server: S3Server, s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = back_up(project, s3)["databases"][0]["name"]
    foreign = ["notes.txt", f"{name}-20200101T020000000Z.sqlite3.gz", "other-12345678-20200101T020000000Z.dump"]
    foreign += ["other-12345678-20200101T020000000Z.dump.sha256", "deeper/x.dump"]
    for one in foreign:
        put(server, s3, one)
    put(server, s3, f"{name}-20200102T020000000Z.dump.sha256")  # of a backup that was removed when a run died
    for days in range(5):
        at = clock.now() + timedelta(days=days)
        monkeypatch.setattr(clock, "now", lambda at=at: at)
        removed = back_up(project, s3, **FEW)["removed"]
        monkeypatch.undo()
    ours = [key for key in keys(server, s3) if key not in foreign]
    assert ours == local(project)
    assert len([key for key in ours if key.endswith(".gz")]) == 2
    assert set(foreign) <= set(keys(server, s3))
    assert len(removed) == 2
    assert removed[1] == f"s3://{s3['bucket']}/host-1/{removed[0]}"


def test_what_could_not_be_copied_is_copied_by_the_next_run(project: Path, tmp_path: Path) -> None:
    own = S3Server(tmp_path / "own")
    s3 = own.settings("backups", prefix="")
    with pytest.raises(
        BackupFailed, match=rf"it was backed up in .*, but cannot list the objects in s3://backups/: {own.url} does"
    ):
        back_up(project, s3, **FEW)
    assert len(local(project)) == 3
    try:
        own.start()
        with pytest.raises(BackupFailed, match=r"but .*there is no such bucket; create it"):
            back_up(project, s3)
        own.client().create_bucket(Bucket="backups")
        back_up(project, s3)
        assert len([name for name in local(project) if name.endswith(".gz")]) == 3
        assert keys(own, s3) == local(project)
    finally:
        own.process.stop()


def test_a_backup_from_before_the_encryption_stays_out_of_the_bucket(
    project: Path, server: S3Server, s3: dict[str, Any]
) -> None:
    context = RunContext(job="database-backup", run_id="r", project=project, settings=BackupSettings())
    with running(context):
        database_backup(databases=["shop.db"])
    back_up(project, s3, recipients=[str(pyrage.x25519.Identity.generate().to_public())])
    assert len([name for name in local(project) if name.endswith(".sha256")]) == 2
    assert len(keys(server, s3)) == 3
    assert all(".age" in key for key in keys(server, s3))


def test_wrong_credentials_are_said(
    project: Path, s3: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong"
    for user, secret, said in (
        ("nobody", "hush", "No user exists with the provided access key"),
        ("horae-test", "hush", "secret key is"),
    ):
        wrong.write_text(f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n")
        with pytest.raises(BackupFailed, match=said) as caught:
            back_up(project, s3 | {"credentials_file": str(wrong)})
        assert "hush" not in caught.value.message
    with pytest.raises(BackupFailed, match="credentials_file: there is no file"):
        back_up(project, s3 | {"credentials_file": str(tmp_path / "absent")})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(BackupFailed, match="no credentials were found; set credentials_file"):
        back_up(project, s3 | {"credentials_file": None})


def test_credentials_of_the_usual_chain(
    project: Path, server: S3Server, s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(server.credentials))
    back_up(project, s3 | {"credentials_file": None})
    assert keys(server, s3) == local(project)


def test_an_object_that_was_changed_is_not_restored(
    project: Path, server: S3Server, s3: dict[str, Any], tmp_path: Path
) -> None:
    name = Path(back_up(project, s3)["databases"][0]["file"]).name
    put(server, s3, name)
    found = restorer(project, s3, place="s3")
    with pytest.raises(BackupFailed, match=rf"{name} in s3://.* is damaged: its SHA-256"):
        found.restore(found.backups()[0], str(tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()
    assert restorer(project, s3).drill(restorer(project, s3).backups()[0]).differences == []  # that of the folder


def test_killed_during_an_upload_the_next_run_completes_it(
    project: Path, server: S3Server, s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(sqlite3.connect(project / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE large AS SELECT randomblob(12000000) AS a")
    settings = json.dumps({"s3": s3})
    killed = subprocess.run(
        # The ninth request sends the first part of the artefact; its companions are there.
        [sys.executable, "-c", KILLED, str(project), settings, "9"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    client = server.client()

    def unfinished() -> list[str]:
        return [one["Key"] for one in client.list_multipart_uploads(Bucket=s3["bucket"]).get("Uploads", [])]

    [begun] = unfinished()
    assert begun.endswith(".sqlite3.gz")
    assert [key for key in keys(server, s3) if key.endswith(".gz")] == []
    assert restorer(project, s3, place="s3").backups() == []  # not there until it is whole
    put(server, s3, "notes.txt")
    stranger = client.create_multipart_upload(Bucket=s3["bucket"], Key="host-1/video.mp4")
    monkeypatch.setattr(bucket, "STALE_SECONDS", -1)
    back_up(project, s3)
    assert unfinished() == ["host-1/video.mp4"]
    assert [key for key in keys(server, s3) if key != "notes.txt"] == local(project)
    client.abort_multipart_upload(Bucket=s3["bucket"], Key="host-1/video.mp4", UploadId=stranger["UploadId"])


def test_a_server_that_does_not_answer_is_said_by_the_list(project: Path) -> None:
    keys = project / "keys"
    keys.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n")
    s3 = {"endpoint": f"http://{LOOPBACK}:{free_port()}", "bucket": "b", "credentials_file": "keys"}
    with pytest.raises(BackupFailed, match=r"does not answer; check `endpoint`.*--from folder"):
        restorer(project, s3).backups()
