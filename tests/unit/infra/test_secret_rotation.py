"""The steps of a rotation on encrypted files: what is kept, what is taken up, what is refused."""

import json
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from horae import RunContext
from horae.jobs.context import running
from horae.settings import load
from infra._secrets.own_store import refuse_unless_safe
from infra._secrets.settings import RedisUser, RotationSettings
from infra._secrets.versions import Record, Retired, RotationFailed, Version
from infra.secret_rotation import secret_rotation

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SIGNING: dict[str, Any] = {"secrets": {"signing-key": {"kind": "random", "file": "key", "length": 30}}}


def rotation_failed() -> type[Exception]:
    """As the job raises it: the job imports its work when it runs, after other tests loaded other projects."""
    found: type[Exception] = import_module("infra._secrets.versions").RotationFailed
    return found


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HORAE_STORE__URL", raising=False)


def run(
    project: Path,
    settings: dict[str, Any] = SIGNING,
    run_id: str = "one",
    reported: list[str] | None = None,
    **given: Any,
) -> dict[str, Any]:
    told = [] if reported is None else reported
    context = RunContext(
        job="secret-rotation",
        run_id=run_id,
        project=project,
        settings=RotationSettings(**settings),
        report=told.append,
    )
    with running(context):
        return secret_rotation(**given)


def test_a_new_value_is_made_kept_and_put_where_it_is_read(project: Path) -> None:
    first = run(project)["secrets"]["signing-key"]
    value = (project / "key").read_text().strip()
    assert (len(value), value.isalnum()) == (30, True)
    assert (project / "key").stat().st_mode & 0o777 == 0o600
    second = run(project, run_id="two")["secrets"]["signing-key"]
    assert (project / "key").read_text().strip() != value
    assert second["version"] != first["version"]
    assert [one["version"] for one in second["to_revoke"]] == [first["version"]]


def test_a_second_attempt_of_a_run_changes_nothing(project: Path) -> None:
    first = run(project)
    value = (project / "key").read_text()
    (project / "key").unlink()  # died between the store and the file
    assert run(project)["secrets"] == first["secrets"]
    assert (project / "key").read_text() == value


def test_values_are_encrypted_and_told_to_nobody(project: Path) -> None:
    told: list[str] = []
    results = [run(project, run_id=str(number), reported=told) for number in range(3)]
    value = (project / "key").read_text().strip()
    kept = {path.name: path.read_bytes() for path in (project / ".horae").rglob("*") if path.is_file()}
    assert kept.keys() == {"signing-key.secret", "secrets.key", ".lock"}
    assert not any(value.encode() in content for content in kept.values())
    assert value not in json.dumps(results) + "".join(told)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (project / ".horae").rglob("*.*") if path.is_file()}
    assert modes["secrets.key"] == modes["signing-key.secret"] == 0o600
    version = Version(id="1", token="t", created_at=NOW, value="hush")
    assert "hush" not in repr(
        Record(name="x", current=version, retired=(Retired(id="1", revoke_after=NOW, checksum="hush"),))
    )


def test_old_versions_are_revoked_after_their_grace_period(project: Path) -> None:
    settings = SIGNING | {"grace_hours": 0}
    run(project, settings)
    assert len(run(project, settings, run_id="two")["secrets"]["signing-key"]["to_revoke"]) == 1
    told: list[str] = []
    value = (project / "key").read_text()
    assert run(project, settings, "three", told, revoke_only=True)["secrets"]["signing-key"]["to_revoke"] == []
    assert [line for line in told if line.startswith("signing-key: revoked version")]
    assert (project / "key").read_text() == value


def test_without_a_store_it_says_how_to_revoke(project: Path) -> None:
    told: list[str] = []
    run(project, reported=told)
    done = run(project, run_id="two", reported=told)
    assert done["revoke_by_hand_after"] == [done["secrets"]["signing-key"]["to_revoke"][0]["after"]]
    assert any("`horae run secret-rotation --context revoke_only=true` after " in line for line in told)


def test_a_dry_run_changes_nothing(project: Path) -> None:
    assert run(project, dry_run=True)["secrets"]["signing-key"]["version"] is None
    assert not (project / "key").exists()
    assert [path.name for path in (project / ".horae").rglob("*") if path.is_file()] == [".lock"]


def test_a_key_that_is_gone_or_another_one_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(project)
    key = project / ".horae/secrets.key"
    right = key.read_bytes()
    key.unlink()
    with pytest.raises(rotation_failed(), match=r"but their key .*secrets\.key is missing; restore it from a backup"):
        run(project, run_id="two")
    assert not key.exists()
    other = "A" * 43 + "="
    with pytest.raises(rotation_failed(), match="another key than the key in HORAE_JOBS__SECRET_ROTATION__KEY"):
        run(project, SIGNING | {"key": other}, run_id="two")
    with pytest.raises(rotation_failed(), match="is not a Fernet key: 32 bytes") as caught:
        run(project, SIGNING | {"key": "short-and-secret"}, run_id="two")
    assert "short-and-secret" not in str(caught.value)
    key.write_bytes(right)
    run(project, run_id="two")


def test_one_that_fails_does_not_stop_the_others(project: Path) -> None:
    (project / "taken").mkdir()
    secrets = {"bad": {"kind": "random", "file": "taken"}, "good": {"kind": "random", "file": "good"}}
    with pytest.raises(rotation_failed(), match=r"^1 of 2 secrets were not rotated: bad: Is a directory: .*taken"):
        run(project, {"secrets": secrets})
    assert (project / "good").exists()


def test_a_secret_that_is_not_configured_is_named(project: Path) -> None:
    with pytest.raises(rotation_failed(), match=r"there is no secret 'sining-key'. Allowed: signing-key"):
        run(project, only="sining-key")


def test_without_secrets_it_says_so_first(project: Path) -> None:
    told: list[str] = []
    run(project, {}, reported=told)
    assert told == ["nothing is rotated, because [jobs.secret-rotation] has no secret"]


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"kind": "vault"}, "'vault'.*does not match|Input tag 'vault'"),
        ({"kind": "redis-user", "urls": ["redis://:hush@h:1"], "user": "a", "lenght": 3}, "lenght"),
        ({"kind": "redis-user", "urls": ["redis+cluster://:hush@h:1"], "user": "a"}, "give the address of each server"),
        ({"kind": "redis-user", "urls": ["http://:hush@h:1"], "user": "a"}, "unknown scheme of a Redis address"),
        ({"kind": "postgres-role", "url": "postgresql://h/d", "roles": ["a", "a"]}, "give two different roles"),
        ({"kind": "random", "length": 8}, "greater than or equal to 20"),
    ],
)
def test_settings_that_are_wrong_are_refused_without_their_values(secret: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        RotationSettings(secrets={"x": secret})
    assert "hush" not in str(caught.value)
    with pytest.raises(ValueError, match="the name 'Shop_Cache' must consist of small letters"):
        RotationSettings(secrets={"Shop_Cache": {"kind": "random"}})


def test_horaes_own_store_user_needs_a_password_file_everywhere(project: Path) -> None:
    def refused(rotated: dict[str, Any] | None = None, **store: str) -> str:
        environment = {f"HORAE_STORE__{key.upper()}": value for key, value in store.items()}
        settings = RotationSettings(secrets={}, **rotated or {})
        urls = ["redis://admin@localhost:6379"]
        secret = RedisUser.model_validate({"kind": "redis-user", "urls": urls, "user": "horae", "file": "pw"})
        try:
            refuse_unless_safe("own", secret, settings, load(project, environment))
        except RotationFailed as error:
            return error.message
        return ""

    url = "redis://127.0.0.1:6379/0"
    assert refused() == ""
    assert refused(url="redis://127.0.0.1:6380/0", username="horae") == ""
    assert refused(url=url, username="other") == ""
    assert "would lose access" in refused(url="redis://horae:old@127.0.0.1:6379/0")
    assert "would lose access" in refused(url=url, username="horae", password_file="elsewhere")
    assert "would lose access" in refused(url="redis+sentinel://horae:x@h:1/s/0")
    assert "set store_processes_read_file = true" in refused(url=url, username="horae", password_file="pw")
    said = {"store_processes_read_file": True}
    assert refused(said, url=url, username="horae", password_file="pw") == ""
