"""A password reaches the server and nothing else: every command and process, against servers that refuse it."""

import base64
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import pytest

from horae.local.ports import LOOPBACK, free_port
from tests.processes import services
from tests.redis_servers import Server, cluster, server
from tests.waiting import wait_for

pytestmark = pytest.mark.requires("valkey")
MARK = "Tr1plet"
PASSWORD = f"{MARK}/@:#?%"
JOBS = '''
from horae import every, job


@job(traits=["infrastructure"], schedule=every("1h"), idempotent=True)
def copy_files() -> int:
    """Copies files."""
    return 1
'''
COMMANDS = (
    *(("jobs",), ("jobs", "--json"), ("check",), ("check", "--json"), ("fires",), ("fires", "--json")),
    *(("explain", "copy-files"), ("next", "copy-files"), ("run", "copy-files"), ("enqueue", "copy-files")),
    *(("logs", "x"), ("up", "--once")),
)
QUICK = ("jobs", "fires", "enqueue")
REPOSITORY = Path(__file__).parents[2]
YAML = """
deployments:
  - name: sweep
    entrypoint: flows/sweep.py:sweep
    tags: ["horae:dashboard"]
    work_pool: {name: horae}
"""


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It knows neither the user nor the password."""
    with server(tmp_path_factory.mktemp("refusing"), "--requirepass", "another") as found:
        yield found


def ways(port: int, file: Path) -> dict[str, dict[str, str]]:
    """The variables by which a password may be given, for the store and for the queue."""
    file.write_text(PASSWORD)
    quoted = quote(PASSWORD, safe="")
    place = f"{LOOPBACK}:{port}"
    plain = {"HORAE_STORE__URL": f"redis://{place}/0", "HORAE_QUEUE__REDIS_URL": f"redis://{place}/0"}
    user = {"HORAE_STORE__USERNAME": "me", "HORAE_QUEUE__REDIS__USERNAME": "me"}
    return {
        "in the URL": dict.fromkeys(plain, f"redis://me:{quoted}@{place}/0"),
        "not quoted": dict.fromkeys(plain, f"redis://me:{PASSWORD}@{place}/0"),
        "as a setting": plain | user | {"HORAE_STORE__PASSWORD": PASSWORD, "HORAE_QUEUE__REDIS__PASSWORD": PASSWORD},
        "in a file": plain | {"HORAE_STORE__PASSWORD_FILE": str(file), "HORAE_QUEUE__REDIS__PASSWORD_FILE": str(file)},
        "twice": {"HORAE_STORE__URL": f"redis://:{quoted}@{place}", "HORAE_STORE__PASSWORD": PASSWORD},
        "to Sentinel": {
            "HORAE_STORE__URL": f"redis+sentinel://me:{quoted}@{place},{place}/horae/0",
            "HORAE_STORE__SENTINEL_PASSWORD": PASSWORD,
        },
        "to a cluster": {"HORAE_STORE__URL": f"redis+cluster://me:{quoted}@{place}"},
        "over tls": {"HORAE_STORE__URL": f"rediss://me:{quoted}@{place}"},
    }


WAYS = tuple(ways(1, Path(os.devnull)))


@pytest.fixture
def durable(project: Path) -> Path:
    (project / "infra/copy_files.py").write_text(JOBS)
    return project


def environment(**more: str) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("HORAE_", "PREFECT_"))} | more


def nowhere_below(folder: Path) -> None:
    """No file of the project holds it, but the one it was given in."""
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "password":
            assert MARK.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("way", WAYS)
def test_no_command_says_it(durable: Path, refusing: Server, way: str) -> None:
    given = environment(**ways(refusing.port, durable / "password")[way])
    refused = 0
    for arguments in COMMANDS:
        if arguments[0] not in QUICK and way not in ("in the URL", "as a setting"):
            continue  # a representative part
        if way == "over tls" and arguments != ("fires",):
            continue  # a server without TLS lets each wait for its timeout
        done = subprocess.run(
            [sys.executable, "-m", "horae", *arguments],
            cwd=durable,
            env=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        said = done.stdout + done.stderr
        assert MARK not in said, (arguments, said)
        assert "Traceback" not in said, (arguments, said)
        refused += done.returncode != 0
    assert refused, "it was to be refused"
    nowhere_below(durable)


@pytest.mark.parametrize("kind", ["sidecar", "queue_worker"])
@pytest.mark.parametrize("way", ["in the URL", "as a setting", "to Sentinel"])
def test_no_process_says_it(durable: Path, refusing: Server, namespace: str, kind: str, way: str) -> None:
    given = ways(refusing.port, durable / "password")[way]
    port = free_port()
    health = {"HORAE_SIDECAR__HEALTH_PORT": str(port), "HORAE_WORKER__HEALTH_PORT": str(port), "PYTHONDEVMODE": "1"}
    with services(durable, given["HORAE_STORE__URL"], namespace) as running:
        service = running.start(kind, **given, **health)
        wait_for(lambda: "refuses" in page(port, "/health") or "not answer" in page(port, "/health"), "a refusal", 20)
        pages = [page(port, path) for path in ("/health", "/health/ready", "/health/live", "/metrics")]
        line = Path(f"/proc/{service.pid}/cmdline")
        pages.append(line.read_text() if line.exists() else "")
        service.terminate()
        assert all(MARK not in text for text in pages)
        assert MARK not in service.log.read_text()
    nowhere_below(durable)


def page(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


class Asking(BaseHTTPRequestHandler):
    """Stands in front of Prefect and wants a login: each request is refused, and what it carried is kept."""

    logins: ClassVar[set[str]] = set()

    def answer(self) -> None:
        self.logins.add(self.headers.get("Authorization", "none"))
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def guarded(durable: Path) -> Iterator[str]:
    """A URL with a login, of a server that refuses it; and a flow and an internal job that go there."""
    for file in ("internal/health_check.py", "internal/_health"):
        copy = shutil.copytree if (REPOSITORY / file).is_dir() else shutil.copyfile
        copy(REPOSITORY / file, durable / file)
    (durable / "flows/sweep.py").write_text("from prefect import flow\n\n\n@flow\ndef sweep():\n    pass\n")
    (durable / "prefect.yaml").write_text(YAML)
    with ThreadingHTTPServer((LOOPBACK, 0), Asking) as asked:
        thread = threading.Thread(target=asked.serve_forever)
        thread.start()
        yield f"http://me:{quote(PASSWORD, safe='')}@{LOOPBACK}:{asked.server_address[1]}/api"
        asked.shutdown()
        thread.join()


def test_the_login_of_prefect_reaches_it_and_nothing_else(
    durable: Path, guarded: str, tmp_path: Path, namespace: str
) -> None:
    with server(tmp_path / "lone") as lone:
        given = {"HORAE_PREFECT__API_URL": guarded, "HORAE_STORE__URL": lone.url, "HORAE_NAMESPACE": namespace}
        commands = [("run", "health-check"), ("run", "sweep"), ("pause", "sweep"), ("jobs",), ("fires", "--json")]
        commands += [("check",), ("explain", "sweep"), ("up", "--once")]
        for arguments in commands:
            done = subprocess.run(
                [sys.executable, "-m", "horae", *arguments],
                cwd=durable,
                env=environment(**given),
                capture_output=True,
                text=True,
                check=False,
                timeout=90,
            )
            said = done.stdout + done.stderr
            assert MARK not in said, (arguments, said)
            assert "Traceback" not in said, (arguments, said)
        port = free_port()
        with services(durable, lone.url, namespace) as running:
            sidecar = running.start("sidecar", **given, HORAE_SIDECAR__HEALTH_PORT=str(port))
            wait_for(lambda: "refuses" in page(port, "/health"), "Prefect's refusal", 20)
            assert MARK not in page(port, "/health") + page(port, "/metrics")
            assert MARK not in sidecar.log.read_text()
        kept = b"".join(path.read_bytes() for path in (tmp_path / "lone").rglob("*.aof"))
        assert b"health-check" in kept
        assert MARK.encode() not in kept
    assert Asking.logins == {"Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()}
    nowhere_below(durable)


def test_commands_work_where_it_is_accepted(durable: Path, tmp_path: Path, namespace: str) -> None:
    """A glance does not speak for them: user, password and kind of address reach the store."""
    with server(tmp_path / "lone", "--requirepass", PASSWORD) as lone, cluster(tmp_path / "cluster") as nodes:
        for node in nodes.nodes:
            node.ask("CONFIG", "SET", "requirepass", PASSWORD)
        for url in (lone.url, nodes.url):
            given = environment(HORAE_STORE__URL=url, HORAE_STORE__PASSWORD=PASSWORD, HORAE_NAMESPACE=namespace)
            for arguments in (("run", "copy-files"), ("jobs", "--json"), ("fires", "--json")):
                done = subprocess.run(
                    [sys.executable, "-m", "horae", *arguments],
                    cwd=durable,
                    env=given,
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=60,
                )
                assert done.returncode == 0, done.stderr
                assert MARK not in done.stdout + done.stderr
                assert '"ran"' in done.stdout or "--json" not in arguments
    nowhere_below(durable)
