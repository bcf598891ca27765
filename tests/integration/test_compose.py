"""compose.yaml as compose itself reads it, with the secrets that the script makes."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.requirements import compose
from tests.shipped import ship

FILES = ("compose.yaml", "scripts", "deploy", "docs/how-to/alerts.yaml")


@pytest.mark.requires("compose")
def test_compose_accepts_the_file_and_finds_each_file_that_it_names(tmp_path: Path) -> None:
    project = ship(tmp_path, *FILES)
    command = [*(compose() or ()), "-f", str(project / "compose.yaml"), "config"]
    refused = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True)
    assert refused.returncode != 0
    assert "HORAE_REVISION" in refused.stderr
    subprocess.run([project / "scripts/compose-secrets"], check=True)
    done = subprocess.run(command, cwd=project, env=_environment(HORAE_REVISION="1"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)
    assert all(Path(secret["file"]).is_file() for secret in read["secrets"].values())
    mounted = [volume for service in read["services"].values() for volume in service.get("volumes", ())]
    sources = [one["source"] if isinstance(one, dict) else one.partition(":")[0] for one in mounted]
    assert all(Path(source).exists() for source in sources if source.startswith("/"))


def test_secrets_are_closed_to_others_and_stay_what_they_are(tmp_path: Path) -> None:
    project = ship(tmp_path, *FILES)
    secrets = project / "deploy/secrets"
    subprocess.run([project / "scripts/compose-secrets"], check=True)
    first = {file.name: file.read_text() for file in secrets.iterdir()}
    subprocess.run([project / "scripts/compose-secrets"], check=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == first
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert len({first[name] for name in ("store-password", "postgres-password", "grafana-password")}) == 3
    assert first["valkey.conf"] == f"requirepass {first['store-password']}\n"


def _environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "HORAE_REVISION"} | more
