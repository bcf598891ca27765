"""The steps of a rotation: create, set, test, finish; later, revoke.

Each step records that it was done, and can be repeated, so a rotation that died continues where it stopped. The version
in use is always valid: the old one until the end of the grace period, the new one from before its first use.
"""

import json
import secrets
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from infra._secrets import files
from infra._secrets.redis_user import checksum
from infra._secrets.versions import Record, Retired, RotationFailed, Rotator, SecretStore, Step, Unreachable, Version

ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """The rotation of one secret by one run."""

    name: str
    store: SecretStore
    rotator: Rotator
    token: str
    """The run id. A second attempt of the same run does not repeat what is finished."""
    now: datetime
    grace: timedelta
    length: int
    file: Path | None
    """Where consumers read the current version."""
    report: Callable[[str], None]

    def rotate(self) -> Record:
        """Make a new version the current one. If it raises RotationFailed, the old version is still in use."""
        try:
            record = self.revoke_due()
        except Unreachable:
            raise
        except RotationFailed as error:  # what cannot be revoked now must not block the new version
            self.report(f"{self.name}: {error.message}")
            record = self.store.read(self.name) or Record(name=self.name)
        if record.finished_token == self.token and record.pending is None:
            return record
        left_behind = record.pending is not None and record.pending.token != self.token
        try:
            record = self._attempt(self._pending(record))
        except Unreachable:
            raise
        except RotationFailed as error:
            if not left_behind:
                raise
            self.report(f"{self.name}: dropped the unfinished version of an earlier run: {error.message}")
            record = self._attempt(self._pending(self.store.read(self.name) or Record(name=self.name)))
        return self._finish(record)

    def rehearse(self) -> Record:
        """Check that a rotation could begin, and return the record; changes nothing."""
        record = self.store.read(self.name) or Record(name=self.name)
        if record.pending is None:
            self.rotator.next_user(record)
        return record

    def revoke_due(self) -> Record:
        """Revoke the versions whose grace period is over, after making sure that consumers have the current one."""
        record = self.store.read(self.name) or Record(name=self.name)
        self._publish(record)
        for retired in [one for one in record.retired if one.revoke_after <= self.now]:
            self.rotator.revoke(retired, record.current)
            record = self._written(replace(record, retired=tuple(one for one in record.retired if one != retired)))
            self.report(f"{self.name}: revoked version {retired.id}")
        return record

    def _pending(self, record: Record) -> Record:
        """Create a version, or take up the pending one."""
        if record.pending:
            self.report(
                f"{self.name}: continues with version {record.pending.id}, which was left {record.pending.step}"
            )
            return self._written(replace(record, pending=replace(record.pending, token=self.token)))
        version = Version(
            id=uuid4().hex[:12],
            token=self.token,
            created_at=self.now,
            value="".join(secrets.choice(ALPHABET) for _ in range(self.length)),
            user=self.rotator.next_user(record),
        )
        return self._written(replace(record, pending=version))

    def _attempt(self, record: Record) -> Record:
        """Set and test. A version that fails is taken back. It stays pending if the server does not answer."""
        try:
            return self._set_and_test(record)
        except Unreachable:
            raise
        except RotationFailed:
            self._abandon(record)
            raise

    def _set_and_test(self, record: Record) -> Record:
        assert record.pending
        # Set and test again whatever the step says: a server that was restored since may have lost it.
        self.rotator.set(record.pending)
        record = self._written(replace(record, pending=replace(record.pending, step=Step.SET)))
        assert record.pending
        self.rotator.test(record.pending)
        return self._written(replace(record, pending=replace(record.pending, step=Step.TESTED)))

    def _finish(self, record: Record) -> Record:
        assert record.pending
        until = self.now + self.grace
        strangers = [replace(one, revoke_after=until) for one in self.rotator.before_first(record)]
        old = [_retired(record.current, until)] if record.current else []
        record = self._written(
            replace(
                record,
                current=record.pending,
                pending=None,
                retired=(*record.retired, *old, *strangers),
                finished_token=self.token,
            )
        )
        self._publish(record)
        self.report(f"{self.name}: version {record.current.id if record.current else ''} is in use")
        return record

    def _abandon(self, record: Record) -> None:
        """Take back a version that failed, so that it does not block later rotations."""
        assert record.pending
        try:
            self.rotator.revoke(_retired(record.pending, self.now), record.current)
        except Unreachable:
            raise
        except RotationFailed as error:  # it may never have got so far
            self.report(f"{self.name}: cannot undo the version that failed its test: {error.message}")
        self._written(replace(record, pending=None))

    def _publish(self, record: Record) -> None:
        """Write the current version where consumers read it. Each run repeats it: an earlier one may have died."""
        if record.current is None:
            return
        if self.file:
            files.clear(self.file.parent, self.file.name)
            content = _content(record.current)
            if not self.file.is_file() or self.file.read_bytes() != content:
                files.replace(self.file, content)
        self.store.publish(record)

    def _written(self, record: Record) -> Record:
        self.store.write(record)
        return record


def _retired(version: Version, until: datetime) -> Retired:
    return Retired(id=version.id, revoke_after=until, user=version.user, checksum=checksum(version.value))


def _content(version: Version) -> bytes:
    if version.user:
        return (json.dumps({"user": version.user, "password": version.value}) + "\n").encode()
    return (version.value + "\n").encode()
