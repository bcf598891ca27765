"""A value that nothing else has to accept, such as a signing key."""

from infra._secrets.versions import Record, Retired, RotationFailed, Version


class RandomRotator:
    def next_user(self, record: Record) -> str:
        return ""

    def before_first(self, record: Record) -> list[Retired]:
        return []

    def set(self, version: Version) -> None:
        """No server has to know it."""

    def test(self, version: Version) -> None:
        if len(version.value) < 20:
            raise RotationFailed("the new value is too short")

    def revoke(self, retired: Retired, current: Version | None) -> None:
        """Nothing to do: the value is gone once the record is written without it."""
