"""Keeps each secret in an encrypted file. The files are useless without the key."""

import json
from pathlib import Path
from typing import Any

from infra._secrets import files
from infra._secrets.versions import Record, RotationFailed, record_of

ENDING = ".secret"


class FileStore:
    """Fernet (AES-128-CBC and HMAC-SHA-256) with one key. `key`: text, or None for the file, which is made if no
    secret is there yet. Raises RotationFailed."""

    def __init__(self, folder: Path, key: str | None, key_file: Path) -> None:
        self._folder, self._key, self._key_file = folder, key, key_file
        self._where = "HORAE_JOBS__SECRET_ROTATION__KEY" if key else str(key_file)
        self._opened: Any = None

    def read(self, name: str) -> Record | None:
        from cryptography.fernet import InvalidToken

        path = self._path(name)
        try:
            content = path.read_bytes()
            return record_of(json.loads(self._fernet().decrypt(content)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RotationFailed(f"{path} cannot be read: {error.strerror}") from None
        except InvalidToken:
            raise RotationFailed(
                f"{path} is damaged, or it was written with another key than the key in {self._where}; restore one "
                "of them"
            ) from None
        except (KeyError, TypeError, ValueError):
            raise RotationFailed(
                f"{path} contains no record that this program can read; restore it from a backup"
            ) from None

    def write(self, record: Record) -> None:
        files.replace(self._path(record.name), self._fernet().encrypt(json.dumps(record.as_dict()).encode()))

    def publish(self, record: Record) -> None:
        """Nothing: consumers read the secret's own file."""

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{ENDING}"

    def _fernet(self) -> Any:
        from cryptography.fernet import Fernet

        if self._opened is None:
            try:
                self._opened = Fernet(self._key or self._read_key(self._key_file))
            except ValueError:
                raise RotationFailed(
                    f"the key in {self._where} is not a Fernet key: 32 bytes in URL-safe base64. Create a key with: "
                    "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'"
                ) from None
        return self._opened

    def _read_key(self, path: Path) -> bytes:
        from cryptography.fernet import Fernet

        try:
            return path.read_bytes().strip()
        except FileNotFoundError:
            if any(self._folder.glob(f"*{ENDING}")):
                raise RotationFailed(
                    f"there are secrets in {self._folder}, but their key {path} is missing; restore it from a backup"
                ) from None
        except OSError as error:
            raise RotationFailed(f"the key {path} cannot be read: {error.strerror}") from None
        key = Fernet.generate_key()
        files.replace(path, key + b"\n")
        return key
