"""One run of the secret rotation: all configured secrets, one after the other."""

import asyncio
import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from horae import RunContext, clock
from horae.settings import Settings, load
from infra._secrets import files
from infra._secrets.own_store import refuse_unless_safe
from infra._secrets.rotation import Rotation
from infra._secrets.settings import AnySecret, PostgresRole, RedisUser, RotationSettings
from infra._secrets.versions import Record, RotationFailed, Rotator, SecretStore


def rotate_all(
    run: RunContext, settings: RotationSettings, only: str | None, revoke_only: bool, dry_run: bool
) -> dict[str, Any]:
    """Rotate, or only revoke, every secret or one. Returns the result of the run; raises RotationFailed."""
    general = load(run.project)
    if not settings.secrets:
        run.report("nothing is rotated, because [jobs.secret-rotation] has no secret")
        return {"secrets": {}}
    chosen = _chosen(settings, only)
    folder = run.project / settings.folder if settings.folder else general.state / "secrets"
    done: dict[str, Record] = {}
    failed: dict[str, str] = {}
    with _locked(folder):
        store = _store(settings, general, folder, run.project)
        for name, secret in chosen.items():
            try:
                rotation = _rotation(name, secret, store, settings, general, run)
                if dry_run:
                    done[name] = rotation.rehearse()
                else:
                    done[name] = rotation.revoke_due() if revoke_only else rotation.rotate()
            except RotationFailed as error:
                failed[name] = error.message
            except OSError as error:
                failed[name] = f"{error.strerror}: {error.filename or folder}"
            except Exception as error:  # its words are not known to hold no value
                failed[name] = (
                    f"{type(error).__name__}; its text is left out, because it may contain a secret; see "
                    "the documentation of that error"
                )
            if name in failed:
                run.report(f"{name}: {failed[name]}")
    pending = [] if dry_run else _revoke_later(run, general, done)
    return _conclude(run, done, failed, pending, dry_run)


def _chosen(settings: RotationSettings, only: str | None) -> dict[str, AnySecret]:
    if only is None:
        return settings.secrets
    if only not in settings.secrets:
        raise RotationFailed(
            f"there is no secret {only!r}. Allowed: {', '.join(settings.secrets)}, from [jobs.secret-rotation]"
        )
    return {only: settings.secrets[only]}


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as gate:
        try:
            fcntl.flock(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RotationFailed(f"another rotation uses {folder}; wait until it ends") from None
        files.clear(folder, "*.secret")
        yield


def _store(settings: RotationSettings, general: Settings, folder: Path, project: Path) -> SecretStore:
    if settings.store == "prefect":
        from infra._secrets.prefect_store import PrefectStore

        if general.prefect.api_url is None:
            raise RotationFailed('store = "prefect" needs the address of Prefect; set api_url in [prefect]')
        key = general.prefect.api_key
        return PrefectStore(general.prefect.api_url.get_secret_value(), key.get_secret_value() if key else None)
    if find_spec("cryptography") is None:
        raise RotationFailed(
            "secret-rotation needs cryptography to encrypt its files; install it with: pip install 'horae[secrets]'"
        )
    from infra._secrets.file_store import FileStore

    key_file = project / settings.key_file if settings.key_file else general.state / "secrets.key"
    return FileStore(folder, settings.key.get_secret_value() if settings.key else None, key_file)


def _rotation(
    name: str,
    secret: AnySecret,
    store: SecretStore,
    settings: RotationSettings,
    general: Settings,
    run: RunContext,
) -> Rotation:
    if isinstance(secret, RedisUser):
        refuse_unless_safe(name, secret, settings, general)
    return Rotation(
        name=name,
        store=store,
        rotator=_rotator(secret, run.project),
        token=run.run_id,
        now=clock.now(),
        grace=timedelta(hours=settings.grace_hours),
        length=secret.length,
        file=run.project / secret.file if secret.file else None,
        report=run.report,
    )


def _rotator(secret: AnySecret, project: Path) -> Rotator:
    if isinstance(secret, RedisUser):
        from infra._secrets.redis_user import RedisUserRotator

        return RedisUserRotator(secret, project)
    if isinstance(secret, PostgresRole):
        if find_spec("psycopg") is None:
            raise RotationFailed("a PostgreSQL role needs psycopg; install it with: pip install 'horae[secrets]'")
        from infra._secrets.postgres_role import PostgresRoleRotator

        return PostgresRoleRotator(secret, project)
    from infra._secrets.random_value import RandomRotator

    return RandomRotator()


def _revoke_later(run: RunContext, general: Settings, done: dict[str, Record]) -> list[datetime]:
    """Enqueue a run for the end of each grace period. Returns the instants for which none could be enqueued."""
    due = sorted({one.revoke_after for record in done.values() for one in record.retired})
    if not due:
        return []
    if general.store.url is None:  # `horae run` without a store: it would be ordered in this process alone
        command = "horae run secret-rotation --context revoke_only=true"
        run.report(
            f"there is no store for the revocation run: revoke the old versions with `{command}` after "
            f"{due[-1]:%F %T} UTC"
        )
        return due
    asyncio.run(_order(run, general, due))
    return []


async def _order(run: RunContext, general: Settings, due: list[datetime]) -> None:
    from horae import Scheduler

    async with Scheduler(general).lifecycle() as scheduler:
        for instant in due:
            await scheduler.enqueue(
                run.job,
                {"revoke_only": True},
                at=instant,
                run_id=f"revoke-{run.run_id}-{int(instant.timestamp())}"[:64],
            )


def _conclude(
    run: RunContext, done: dict[str, Record], failed: dict[str, str], unordered: list[datetime], dry_run: bool
) -> dict[str, Any]:
    would = "would be rotated" if dry_run else "done"
    run.report(f"{f'{len(failed)} failed; ' if failed else ''}{len(done)} {would}")
    if failed:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise RotationFailed(f"{len(failed)} of {len(done) + len(failed)} secrets were not rotated: {reasons}")
    return {
        "dry_run": dry_run,
        "secrets": {name: _shown(record) for name, record in done.items()},
        "revoke_by_hand_after": [clock.isoformat(instant) for instant in unordered],
    }


def _shown(record: Record) -> dict[str, Any]:
    """The record without its values."""
    instant: Callable[[datetime], str] = clock.isoformat
    return {
        "version": record.current.id if record.current else None,
        "created_at": instant(record.current.created_at) if record.current else None,
        "user": (record.current.user or None) if record.current else None,
        "pending": record.pending.step.value if record.pending else None,
        "to_revoke": [{"version": one.id, "after": instant(one.revoke_after)} for one in record.retired],
    }
