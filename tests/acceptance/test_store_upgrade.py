"""`horae store upgrade` as an operator types it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.servers import OwnValkey
from tests.unit.cli.test_project_commands import documented

type Upgrade = Callable[..., "subprocess.CompletedProcess[str]"]
pytestmark = pytest.mark.requires("valkey")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnValkey]:
    """Of its own: who else is connected to the shared one is not known."""
    (tmp_path / "store").mkdir()
    own = OwnValkey(tmp_path / "store")
    own.start()
    yield own
    own.kill()


@pytest.fixture
def upgrade(project: Path, server: OwnValkey) -> Upgrade:
    def said(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "horae", "store", "upgrade", *arguments],
            cwd=project,
            env={**os.environ, "HORAE_STORE__URL": server.url},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return said


def schema_of(server: OwnValkey) -> int:
    with redis.Redis.from_url(server.url) as client:
        return int(client.get("{horae}:schema") or 0)


def test_a_preview_changes_nothing_and_an_upgrade_needs_a_word(upgrade: Upgrade, server: OwnValkey) -> None:
    preview = upgrade("--preview")
    assert (preview.returncode, preview.stderr) == (0, "")
    assert "has schema 2, unchanged" in preview.stdout
    asked = upgrade()
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "add --yes or --preview" in asked.stderr
    assert schema_of(server) == 2
    done = upgrade("--yes", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == documented("store upgrade")
    assert (found["schema"], found["newest"], found["rewritten"], found["older_clients"]) == (3, 3, 0, [])
    assert schema_of(server) == 3
    again = upgrade("--yes")
    assert (again.returncode, again.stdout) == (0, "the store has schema 3; 0 of 0 runs were rewritten\n")


def test_a_connection_that_may_be_of_an_older_release_stops_it(upgrade: Upgrade, server: OwnValkey) -> None:
    with redis.Redis.from_url(server.url) as older:
        address = str(older.client_info()["addr"])
        refused = upgrade("--yes")
        assert refused.returncode == 1
        assert address in refused.stderr
        assert "add --despite-older" in refused.stderr
        assert schema_of(server) == 2
        assert upgrade("--yes", "--despite-older").returncode == 0
    assert schema_of(server) == 3


def test_what_is_too_old_is_refused_with_the_way_out(upgrade: Upgrade, server: OwnValkey) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("{horae}:schema", 1)
    refused = upgrade("--yes")
    assert refused.returncode == 1
    assert "start the previous release on it once" in refused.stderr
    assert "Traceback" not in refused.stderr
