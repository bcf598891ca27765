"""Encryption of backups, with the real age library."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from horae.errors import InvalidSettings
from infra._backup import manifest
from infra._backup.artefact import Artefact
from infra._backup.engine import BackupFailed, Made
from infra._backup.sealing import Opener, Sealer
from infra._backup.settings import BackupSettings

BACKUP = Artefact(name="n", database="d", at=datetime(2026, 11, 24, 2, tzinfo=UTC), suffix=".dump")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    path = tmp_path / "plain"
    path.write_bytes(bytes(range(256)) * 1000)
    return path


def key(folder: Path, name: str = "key.txt") -> tuple[str, Path]:
    """A public key, and a file as `age-keygen` writes it."""
    identity = pyrage.x25519.Identity.generate()
    path = folder / name
    path.write_text(f"# created: 2026-11-24\n# public key: {identity.to_public()}\n{identity}\n")
    return str(identity.to_public()), path


def test_each_recipient_can_decrypt_and_nobody_else(plain: Path, tmp_path: Path) -> None:
    (one, first), (two, second), (_, other) = key(tmp_path, "1"), key(tmp_path, "2"), key(tmp_path, "3")
    sealed, opened = tmp_path / "sealed", tmp_path / "opened"
    Sealer([one, two]).seal(plain, sealed)
    assert plain.read_bytes()[:200] not in sealed.read_bytes()
    for file in (first, second):
        Opener(file).open(sealed, opened)
        assert opened.read_bytes() == plain.read_bytes()
    with pytest.raises(BackupFailed, match=f"cannot decrypt sealed with {other}: No matching keys found"):
        Opener(other).open(sealed, opened)


@pytest.mark.parametrize("place", [-5, 40_000])
def test_a_flipped_bit_is_found(plain: Path, tmp_path: Path, place: int) -> None:
    recipient, file = key(tmp_path)
    sealed = tmp_path / "sealed"
    Sealer([recipient]).seal(plain, sealed)
    content = bytearray(sealed.read_bytes())
    content[place] ^= 1
    sealed.write_bytes(content)
    with pytest.raises(BackupFailed, match="it is damaged"):
        Opener(file).open(sealed, tmp_path / "opened")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("age1nonsense", "recipient 1 is no public key: .*Allowed: age1"),
        ("ssh-ed25519 AAAA", "recipient 1 is no public key"),
        ("", "recipient 1 is no public key"),
        pytest.param(
            str(pyrage.x25519.Identity.generate()), "recipient 1 is a private key; give its public key", id="private"
        ),
    ],
)
def test_what_is_no_public_key_is_refused(given: str, reason: str) -> None:
    with pytest.raises(InvalidSettings, match=reason) as caught:
        Sealer([given])
    assert given[16:] not in caught.value.message or not given[16:]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "cannot be read: No such file"), ("# nothing\n", "holds no private key"), ("age1x\n", "no usable private")],
)
def test_what_holds_no_private_key_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    file = tmp_path / "identity"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidSettings, match=reason):
        Opener(file)


def test_the_manifest_of_an_encrypted_backup_names_no_table(tmp_path: Path) -> None:
    recipient, file = key(tmp_path)
    made = Made(file=tmp_path, suffix=".dump", tables={"public.affairs": 7})
    text = manifest.written(BACKUP, "postgresql://u@h/d", "abc", 5, made, "r1", Sealer([recipient]))
    assert "affairs" not in text
    assert "postgresql" not in text
    assert json.loads(text)["recovery_point"] == "2026-11-24T02:00:00Z"
    assert manifest.parsed(text, Opener(file)).tables == {"public.affairs": 7}
    assert manifest.parsed(text, None).tables is None
    open_text = manifest.written(BACKUP, "postgresql://u@h/d", "abc", 5, made, "r1", None)
    expected = manifest.Manifest(sha256="abc", bytes=5, run_id="r1", tables={"public.affairs": 7})
    assert manifest.parsed(open_text, None) == expected


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": "a", "bytes": 1, "details": {"tables": {"t": "x"}}}'])
def test_a_damaged_manifest_is_said(text: str) -> None:
    with pytest.raises(BackupFailed, match="the manifest cannot be read"):
        manifest.parsed(text, None)


def test_a_drill_of_encrypted_backups_needs_the_private_key() -> None:
    with pytest.raises(ValueError, match="a drill needs identity_file"):
        BackupSettings(drill="folder", recipients=("age1x",))
    with pytest.raises(ValueError, match='drill is "s3", but no bucket is configured'):
        BackupSettings(drill="s3")
