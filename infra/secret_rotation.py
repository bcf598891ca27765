"""Rotates the configured secrets, every 90 days.

It runs on the queue because it is infrastructure that must survive restarts: a rotation that died continues where it
was. A run of its own revokes the old version when the grace period is over.
"""

from datetime import timedelta
from typing import Any

from horae import Retry, current_run, every, job
from infra._secrets.settings import RotationSettings


@job(
    name="secret-rotation",
    schedule=every("90d"),
    traits={"infrastructure", "survives_restarts"},
    time_limit=timedelta(minutes=30),
    retry=Retry(retries=5, base_delay=timedelta(minutes=1)),
    catch_up_window=timedelta(days=30),
    idempotent=True,
    settings=RotationSettings,
)
def secret_rotation(*, only: str | None = None, revoke_only: bool = False, dry_run: bool = False) -> dict[str, Any]:
    """Give each configured secret a new version, and revoke old versions whose grace period is over.

    `only` names one secret. `revoke_only` makes no new version. `dry_run` says what would be done, and changes nothing.
    One that fails does not stop the others: the run fails at its end, and names it.
    """
    from infra._secrets.rotations import rotate_all

    run = current_run()
    return rotate_all(run, run.settings or RotationSettings(), only, revoke_only, dry_run)
