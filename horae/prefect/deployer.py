"""`prefect deploy` that writes only changed deployments, and loses no fire when it writes.

It is a separate program because it imports Prefect: `python -m horae.prefect.deployer --all --prefect-file FILE`. It
runs Prefect's own command and replaces only the step that writes a deployment, by `deployment_write`.
"""

import os
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from horae.prefect.api import PrefectApi
from horae.prefect.deployment_write import write

LINE = "horae: {address} is {what}"
"""The line that is printed for each deployment. People and `horae up` read it."""


def main(arguments: Sequence[str]) -> None:
    """Run `prefect deploy` with these arguments in this process, with the same exit status."""
    from prefect.deployments.runner import RunnerDeployment

    original = RunnerDeployment.aapply
    setattr(RunnerDeployment, "apply", _careful(original))  # noqa: B010 - mypy refuses the plain assignment
    sys.argv = ["prefect", "--no-prompt", "deploy", *arguments]
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _careful(original: Callable[..., Any]) -> Callable[..., Any]:
    async def apply(self: Any, schedules: list[dict[str, Any]] | None = None, *rest: Any, **options: Any) -> UUID:
        async with PrefectApi(os.environ["PREFECT_API_URL"], os.environ.get("PREFECT_API_KEY")) as prefect:
            id, what = await write(prefect, self, schedules, lambda: original(self, schedules, *rest, **options))
        print(LINE.format(address=self.full_name, what=what), flush=True)
        return id

    return apply


if __name__ == "__main__":
    main(sys.argv[1:])
