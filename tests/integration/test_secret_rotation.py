"""The secret rotation on a real Valkey, PostgreSQL and Prefect: nobody is locked out, whenever it dies."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from horae import RunContext
from horae.jobs.context import running
from horae.local.ports import LOOPBACK, free_port
from horae.up.prefect_parts import environment
from infra._secrets.settings import RotationSettings
from infra._secrets.versions import RotationFailed, Unreachable
from infra.secret_rotation import secret_rotation
from tests.postgres_server import postgres_server, psql
from tests.prefect_server import prefect_server
from tests.processes import services
from tests.redis_servers import Server, server
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
# Kills itself at its n-th touch of the file system or the network, as Python's audit events tell them; -1: a full disk.
ROTATION = """
import json, os, resource, signal, sys
from pathlib import Path
import cryptography.fernet, psycopg, redis
import horae.redis.clients
from horae import RunContext
from horae.jobs.context import running
from infra._secrets import file_store, postgres_role, random_value, redis_user
from infra._secrets.settings import RotationSettings
from infra.secret_rotation import secret_rotation
project, left = Path(sys.argv[1]), int(sys.argv[2])
settings = RotationSettings(**json.loads(sys.argv[3]))
def watch(event, arguments):
    global left
    if event in {"os.rename", "socket.connect", "tempfile.mkstemp", "os.chmod"}:
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
context = RunContext(job="secret-rotation", run_id=sys.argv[4], project=project, settings=settings, report=print)
with running(context):
    sys.addaudithook(watch)
    if left < 0:  # the disk is full
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
    secret_rotation()
"""


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HORAE_STORE__URL", raising=False)


def run(project: Path, settings: dict[str, Any], run_id: str, told: list[str] | None = None, **given: Any) -> Any:
    context = RunContext(
        job="secret-rotation",
        run_id=run_id,
        project=project,
        settings=RotationSettings(**settings),
        report=(told if told is not None else []).append,
    )
    with running(context):
        return secret_rotation(**given)["secrets"]


def killed(project: Path, settings: dict[str, Any], run_id: str, at: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ROTATION, str(project), str(at), json.dumps(settings), run_id],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Server]:
    """A Valkey that keeps its users in a file; `app` has the password `first`."""
    acl = tmp_path / "users.acl"
    acl.write_text("user default on nopass ~* &* +@all\nuser app on >first ~app:* +@read\n")
    with server(tmp_path / "cache", "--aclfile", str(acl)) as found:
        yield found


def cache_settings(*servers: Server, **more: Any) -> dict[str, Any]:
    secret = {"kind": "redis-user", "urls": [one.url for one in servers], "user": "app", "file": "app-password", **more}
    return {"secrets": {"shop-cache": secret}, "grace_hours": more.pop("grace_hours", 24)}


def logs_in(port: int, password: str, user: str = "app") -> bool:
    with redis.Redis(host=LOOPBACK, port=port, username=user, password=password) as client:
        try:
            client.get("app:x")
        except redis.AuthenticationError:
            return False
        return True


def password(project: Path) -> str:
    return (project / "app-password").read_text().strip()


@pytest.mark.requires("valkey")
def test_a_user_has_both_passwords_until_the_grace_period_is_over(project: Path, cache: Server) -> None:
    settings = cache_settings(cache)
    record = run(project, settings, "one")["shop-cache"]
    new = password(project)
    assert logs_in(cache.port, "first")
    assert logs_in(cache.port, new)
    assert [one["version"][:6] for one in record["to_revoke"]] == ["before"]
    run(project, settings | {"grace_hours": 0}, "two")
    run(project, settings, "three", revoke_only=True)
    assert not logs_in(cache.port, new)
    assert logs_in(cache.port, password(project))
    assert len(cache.ask("ACL", "GETUSER", "app")["passwords"]) == 2  # the current one, and the first until tomorrow


@pytest.mark.requires("valkey")
def test_a_restart_of_the_server_locks_nobody_out(project: Path, cache: Server) -> None:
    run(project, cache_settings(cache), "one")
    cache.kill()
    cache.start()
    assert logs_in(cache.port, password(project))


@pytest.mark.requires("valkey")
def test_a_server_that_cannot_save_its_users_is_refused(project: Path, tmp_path: Path) -> None:
    with server(tmp_path / "bare") as bare:
        bare.ask("ACL", "SETUSER", "app", "on", ">first", "~*", "+@read")
        with pytest.raises(RotationFailed, match=r"cannot save its ACL .* a restart would restore the old password"):
            run(project, cache_settings(bare), "one")
        assert len(bare.ask("ACL", "GETUSER", "app")["passwords"]) == 1  # what was added is taken back
        run(project, cache_settings(bare, allow_unsaved=True), "two")
        assert logs_in(bare.port, password(project))


@pytest.mark.requires("valkey")
@pytest.mark.parametrize(
    ("rights", "said"),
    [
        (("nopass",), "in with any password"),
        (("off",), "has disabled the user"),
        (None, "has no ACL user 'app'; create it"),
    ],
)
def test_a_user_that_cannot_be_rotated_leaves_nothing_pending(
    project: Path, cache: Server, rights: tuple[str, ...] | None, said: str
) -> None:
    if rights:
        cache.ask("ACL", "SETUSER", "app", *rights)
    else:
        cache.ask("ACL", "DELUSER", "app")
    with pytest.raises(RotationFailed, match=said):
        run(project, cache_settings(cache), "one")
    assert not (project / "app-password").exists()
    cache.ask("ACL", "SETUSER", "app", "reset", "on", ">first", "~*", "+@read")
    assert run(project, cache_settings(cache), "two")["shop-cache"]["pending"] is None
    assert logs_in(cache.port, password(project))


@pytest.mark.requires("valkey")
def test_a_second_server_that_is_down_is_waited_for(project: Path, cache: Server, tmp_path: Path) -> None:
    acl = tmp_path / "second.acl"
    acl.write_text("user default on nopass ~* &* +@all\nuser app on >first ~app:* +@read\n")
    with server(tmp_path / "second", "--aclfile", str(acl)) as second:
        settings = cache_settings(cache, second)
        second.kill()
        with pytest.raises(RotationFailed, match=f"{second.port}/0 does not answer"):
            run(project, settings, "one")
        assert not (project / "app-password").exists()  # not in use before all accept it
        second.start()
        told: list[str] = []
        run(project, settings, "two", told)
        assert all(logs_in(one.port, password(project)) for one in (cache, second))
        assert not any("dropped the unfinished version" in line for line in told)
        assert {len(one.ask("ACL", "GETUSER", "app")["passwords"]) for one in (cache, second)} == {2}


@pytest.mark.requires("valkey")
def test_a_pending_version_left_behind_blocks_no_later_rotation(project: Path, cache: Server) -> None:
    settings = cache_settings(cache)
    run(project, settings, "one")
    kept = project / ".horae/secrets/shop-cache.secret"
    before = kept.read_bytes()
    at = 0
    while kept.read_bytes() == before:
        at += 1
        assert killed(project, settings, "dead", at).returncode == -signal.SIGKILL
    cache.ask("ACL", "SETUSER", "app", "off")  # what is pending cannot pass now
    with pytest.raises(RotationFailed, match="has disabled the user"):
        run(project, settings, "two")
    cache.ask("ACL", "SETUSER", "app", "on")
    assert run(project, settings, "three")["shop-cache"]["pending"] is None
    assert logs_in(cache.port, password(project))


@pytest.mark.requires("valkey")
def test_a_server_that_forgot_the_current_password_is_set_right(project: Path, cache: Server) -> None:
    run(project, cache_settings(cache), "one")
    cache.ask("ACL", "SETUSER", "app", "resetpass", ">restored")
    settings = cache_settings(cache) | {"grace_hours": 0}
    told: list[str] = []
    run(project, settings, "two", told)
    assert logs_in(cache.port, password(project))
    run(project, settings, "three", told, revoke_only=True)
    assert logs_in(cache.port, password(project))


@pytest.mark.requires("valkey")
def test_killed_at_any_moment_it_locks_nobody_out_and_goes_on(project: Path, cache: Server) -> None:
    settings = cache_settings(cache) | {"grace_hours": 0}
    run(project, settings, "zero")
    moments = 0
    for at in range(1, 100, 2):
        done = killed(project, settings, f"run-{at}", at)
        assert logs_in(cache.port, password(project)), f"locked out after a kill at {at}"
        assert password(project) not in done.stdout + done.stderr
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        moments += 1
        record = run(project, settings, f"run-{at}")["shop-cache"]  # the next attempt of the same run
        assert record["pending"] is None
        assert logs_in(cache.port, password(project))
    assert moments > 4
    run(project, settings, "last", revoke_only=True)
    assert len(cache.ask("ACL", "GETUSER", "app")["passwords"]) == 1
    assert not list(project.glob(".horae-unfinished-*"))


@pytest.mark.requires("valkey")
def test_a_full_disk_fails_the_rotation_and_locks_nobody_out(project: Path, cache: Server) -> None:
    settings = cache_settings(cache)
    run(project, settings, "one")
    before = password(project)
    full = killed(project, settings, "two", -1)
    assert full.returncode == 1
    assert "shop-cache: File too large" in full.stderr
    assert password(project) == before
    assert logs_in(cache.port, before)
    assert not [path for path in (project / ".horae/secrets").iterdir() if "unfinished" in path.name]
    run(project, settings, "two")
    assert password(project) != before
    assert logs_in(cache.port, password(project))


@pytest.mark.requires("valkey")
def test_a_login_that_is_refused_or_may_not_is_said(project: Path, cache: Server) -> None:
    cache.ask("ACL", "SETUSER", "weak", "on", ">weak-hush", "+@read")
    for login, said in (("weak:weak-hush", "may not change ACLs"), ("weak:wrong-hush", "refuses the login")):
        settings = cache_settings(cache)
        settings["secrets"]["shop-cache"]["urls"] = [cache.url.replace("redis://", f"redis://{login}@")]
        with pytest.raises(RotationFailed, match=said) as caught:
            run(project, settings, "one")
        assert "hush" not in caught.value.message


@pytest.mark.requires("valkey")
def test_no_password_is_in_a_log_of_the_server(project: Path, cache: Server) -> None:
    cache.ask("CONFIG", "SET", "slowlog-log-slower-than", "0")
    with redis.Redis(host=LOOPBACK, port=cache.port, decode_responses=True) as client, client.monitor() as seen:
        told: list[str] = []
        result = run(project, cache_settings(cache), "one", told)
        slow = str(cache.ask("SLOWLOG", "GET", "100"))
        client.ping()
        commands: list[str] = []
        while not commands or "PING" not in commands[-1]:
            commands.append(str(seen.next_command()["command"]))
    for text in [slow, *commands, *told, json.dumps(result), cache.log(), str(cache.ask("ACL", "LOG"))]:
        assert password(project) not in text


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("postgres")
    with postgres_server(folder) as url:
        yield url, folder / "log"


def roles(url: str) -> None:
    for role in ("app_a", "app_b"):
        psql(url, f"DROP ROLE IF EXISTS {role}")
        psql(url, f"CREATE ROLE {role} LOGIN")
    psql(url, "ALTER ROLE app_a PASSWORD 'first'")


def database_settings(url: str, **more: Any) -> dict[str, Any]:
    secret = {"kind": "postgres-role", "url": url, "roles": ["app_a", "app_b"], "file": "login"}
    return {"secrets": {"shop-db": secret}} | more


def enters(url: str, user: str, password: str) -> bool:
    _, _, place = url.partition("@")
    return psql(f"postgresql://{user}:{password}@{place}", "SELECT 1") == "1"


@pytest.mark.requires("postgres")
def test_two_roles_take_turns(project: Path, database: tuple[str, Path]) -> None:
    url, log = database
    roles(url)
    settings = database_settings(url.removesuffix("/postgres"))
    run(project, settings, "one")
    login = json.loads((project / "login").read_text())
    assert login["user"] == "app_b"
    assert enters(url, "app_b", login["password"])
    assert enters(url, "app_a", "first")
    with pytest.raises(RotationFailed, match="the role 'app_a' is still in its grace period, until 20"):
        run(project, settings, "two")
    early = database_settings(url, grace_hours=0)
    (project / ".horae/secrets/shop-db.secret").unlink()  # as after a loss of the store: it begins anew
    run(project, early, "three")
    run(project, early, "four", revoke_only=True)
    assert not enters(url, "app_a", "first")
    second = json.loads((project / "login").read_text())
    run(project, early, "five")
    third = json.loads((project / "login").read_text())
    assert [one["user"] for one in (second, third)] == ["app_b", "app_a"]
    assert enters(url, "app_b", second["password"])
    assert enters(url, "app_a", third["password"])
    for value in (login, second, third):
        assert value["password"] not in log.read_text()  # log_statement = all


@pytest.mark.requires("postgres")
def test_a_database_that_asks_for_no_password_is_refused(project: Path, database: tuple[str, Path]) -> None:
    url, log = database
    roles(url)
    rules = log.parent / "data/pg_hba.conf"
    kept = rules.read_text()

    def lets_everybody_in() -> bool:
        psql(url, "SELECT pg_reload_conf()")
        return enters(url, "app_b", "anything")

    rules.write_text("host all app_b 127.0.0.1/32 trust\n" + kept)
    try:
        wait_for(lets_everybody_in, "the new rules", 30)
        with pytest.raises(
            RotationFailed,
            match=r"lets 'app_b' in with a wrong password; set scram-sha-256 for this user in pg_hba\.conf",
        ):
            run(project, database_settings(url), "one")
        assert not (project / "login").exists()
    finally:
        rules.write_text(kept)
        wait_for(lambda: not lets_everybody_in(), "the old rules", 30)


@pytest.mark.requires("postgres")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("s3cret%2Fword", "wrong-hush"), "refuses the login: .*password authentication failed"),
        (("boss:s3cret%2Fword", "app_a:first"), "may not alter the roles; it needs CREATEROLE"),
        (("postgresql://", "postgresql://"), "has no role 'app_c'"),
    ],
)
def test_what_is_wrong_with_a_database_is_said(
    project: Path, database: tuple[str, Path], change: tuple[str, str], said: str
) -> None:
    url, _ = database
    roles(url)
    settings = database_settings(url.replace(*change))
    if "app_c" in said:
        settings["secrets"]["shop-db"]["roles"] = ["app_a", "app_c"]
    with pytest.raises(RotationFailed, match=said) as caught:
        run(project, settings, "one")
    assert "hush" not in caught.value.message
    assert enters(url, "app_a", "first")


@pytest.mark.requires("postgres")
def test_a_database_rotation_that_is_killed_locks_nobody_out(project: Path, database: tuple[str, Path]) -> None:
    url, _ = database
    roles(url)
    settings = database_settings(url, grace_hours=0)
    run(project, settings, "zero")
    for at in range(1, 40, 3):
        done = killed(project, settings, f"run-{at}", at)
        login = json.loads((project / "login").read_text())
        assert enters(url, login["user"], login["password"]), f"locked out after a kill at {at}"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert run(project, settings, f"run-{at}")["shop-db"]["pending"] is None
        login = json.loads((project / "login").read_text())
        assert enters(url, login["user"], login["password"])
    assert at > 6


@pytest.fixture(scope="module")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as url:
        yield url


def test_secret_blocks_of_prefect(project: Path, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORAE_PREFECT__API_URL", prefect_url)
    settings = {"secrets": {"signing-key": {"kind": "random"}}, "store": "prefect", "grace_hours": 0}

    def value() -> str:
        path = "/block_types/slug/secret/block_documents/name/signing-key?include_secrets=true"
        return str(httpx.get(prefect_url + path).json()["data"]["value"])

    run(project, settings, "one")
    first = value()
    assert len(first) == 40
    run(project, settings, "two")
    assert value() != first
    again = value()
    run(project, settings, "two")  # a second attempt
    assert value() == again
    assert run(project, settings, "three", revoke_only=True)["signing-key"]["to_revoke"] == []
    read = "from prefect.blocks.system import Secret; print(Secret.load('signing-key').get())"
    told = subprocess.run(
        [sys.executable, "-c", read],
        env=os.environ | environment(project / ".horae", prefect_url),
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == again


def test_a_prefect_that_does_not_answer_is_said(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HORAE_PREFECT__API_URL", f"http://{LOOPBACK}:{free_port()}/api")
    settings = {"secrets": {"signing-key": {"kind": "random"}}, "store": "prefect"}
    with pytest.raises(RotationFailed, match="Prefect does not answer at "):
        run(project, settings, "one")
    assert issubclass(Unreachable, RotationFailed)


@pytest.mark.requires("valkey")
def test_through_the_queue_the_old_version_is_revoked_by_a_run_of_its_own(
    project: Path, cache: Server, valkey_url: str, namespace: str
) -> None:
    """And neither ledger, messages nor logs hold a value."""
    for name in ("secret_rotation.py", "_secrets"):
        (project / "infra" / name).symlink_to(ROOT / "infra" / name)
    secret = cache_settings(cache)["secrets"]["shop-cache"]
    with (project / "horae.toml").open("a") as file:
        file.write("[jobs.secret-rotation]\ngrace_hours = 0.0005\n[jobs.secret-rotation.secrets.shop-cache]\n")
        file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in secret.items())
    given = os.environ | {"HORAE_STORE__URL": valkey_url, "HORAE_NAMESPACE": namespace}
    with services(project, valkey_url, namespace) as parts:
        parts.start("queue_worker")
        parts.start("sidecar")
        enqueued = [sys.executable, "-m", "horae", "enqueue", "secret-rotation"]
        subprocess.run(enqueued, cwd=project, env=given, check=True, capture_output=True)
        wait_for(lambda: (project / "app-password").exists(), "the rotation", 40)
        wait_for(lambda: not logs_in(cache.port, "first"), "the run that revokes", 40)
        assert logs_in(cache.port, password(project))
        logs = [part.log.read_text() for part in parts.all]
    with redis.Redis.from_url(valkey_url, decode_responses=False) as store:
        held = [store.dump(key) for key in store.scan_iter(f"*{namespace}*")]
    assert held
    value = password(project)
    assert not any(value.encode() in (content or b"") for content in held)
    assert not any(value in text for text in logs)
