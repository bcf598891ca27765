"""Encrypts backups with age, for one or more public keys."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from horae.errors import InvalidSettings
from infra._backup.engine import BackupFailed

MISSING = "encryption needs the library pyrage; install it with: pip install 'horae[backup]'"
SSH = ("ssh-ed25519 ", "ssh-rsa ")
SECRET = "AGE-SECRET-KEY-"


class Sealer:
    """Encrypts for these recipients; raises InvalidSettings for one that is no public key, BackupFailed without age."""

    def __init__(self, recipients: Sequence[str]) -> None:
        self._age = _age()
        self._recipients = [self._recipient(number, text) for number, text in enumerate(recipients, start=1)]

    def seal(self, plain: Path, sealed: Path) -> None:
        """Encrypt a file, then decrypt it again and compare; raises BackupFailed or OSError.

        The file is also encrypted for a key that only this call knows and forgets, because the private keys of the
        recipients should not be on this machine.
        """
        proof = self._age.x25519.Identity.generate()
        try:
            with plain.open("rb") as source, sealed.open("wb") as target:
                self._age.encrypt_io(source, target, [*self._recipients, proof.to_public()])
        except self._age.EncryptError as error:
            raise BackupFailed(f"it cannot be encrypted: {error}") from None
        with plain.open("rb") as source, sealed.open("rb") as again:
            compared = _Compared(source)
            _decrypt(self._age, again, compared, [proof], sealed.name)
            if source.read(1) or compared.differs:
                raise BackupFailed("the decrypted content differs from the original")

    def seal_text(self, text: str) -> str:
        return base64.b64encode(self._age.encrypt(text.encode(), self._recipients)).decode()

    def _recipient(self, number: int, text: str) -> Any:
        if text.strip().startswith(SECRET):
            raise InvalidSettings(
                f"[jobs.database-backup] recipient {number} is a private key; give its public key, which begins with "
                "`age1` (`age-keygen -y FILE` prints it), and keep the private key off this machine"
            )
        kind = self._age.ssh if text.startswith(SSH) else self._age.x25519
        try:
            return kind.Recipient.from_str(text.strip())
        except self._age.RecipientError as error:
            raise InvalidSettings(
                f"[jobs.database-backup] recipient {number} is no public key: {error}. Allowed: age1…, ssh-ed25519 … "
                "or ssh-rsa …"
            ) from None


class Opener:
    """Decrypts with the private keys of a file; raises InvalidSettings, or BackupFailed without age."""

    def __init__(self, identity_file: Path) -> None:
        self._age, self._file = _age(), identity_file
        try:
            content = identity_file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or "it is not text"
            raise InvalidSettings(f"the identity file {identity_file} cannot be read: {reason}") from None
        self._identities = self._read(content)
        if not self._identities:
            raise InvalidSettings(f"the identity file {identity_file} holds no private key (AGE-SECRET-KEY-…)")

    def open(self, sealed: Path, plain: Path) -> None:
        with sealed.open("rb") as source, plain.open("wb") as target:
            _decrypt(self._age, source, target, self._identities, f"{sealed.name} with {self._file}")

    def open_text(self, text: str) -> str:
        try:
            return bytes(self._age.decrypt(base64.b64decode(text), self._identities)).decode()
        except (self._age.DecryptError, OSError, ValueError) as error:
            raise BackupFailed(f"the manifest cannot be decrypted with {self._file}: {error}") from None

    def _read(self, content: str) -> list[Any]:
        try:
            if "PRIVATE KEY-----" in content:
                return [self._age.ssh.Identity.from_buffer(content.encode())]
            lines = [line.strip() for line in content.splitlines()]
            return [self._age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
        except self._age.IdentityError as error:
            raise InvalidSettings(f"the identity file {self._file} holds no usable private key: {error}") from None


class _Compared:
    """A file to write to that compares what is written with another file."""

    def __init__(self, wanted: BinaryIO) -> None:
        self._wanted, self.differs = wanted, False

    def write(self, data: bytes) -> int:
        self.differs |= self._wanted.read(len(data)) != data
        return len(data)

    def flush(self) -> None:
        pass


def _decrypt(age: Any, source: Any, target: Any, identities: Sequence[Any], what: str) -> None:
    try:
        age.decrypt_io(source, target, identities)
    except age.DecryptError as error:
        raise BackupFailed(f"cannot decrypt {what}: {error}") from None
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise BackupFailed(f"cannot decrypt {what}, it is damaged: {error}") from None


def _age() -> Any:
    try:
        import pyrage
    except ImportError:
        raise BackupFailed(MISSING) from None
    return pyrage
