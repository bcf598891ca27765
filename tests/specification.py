"""The Python blocks of docs/reference/decision-matrix.md, with only their Prefect 2 spelling changed."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "decision-matrix.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
IMPORTS = re.compile(r"^from prefect\.(?:deployments|schedules) import \w+\n", re.MULTILINE)
DEPLOYMENT = re.compile(
    r"deployment = Deployment\.build\(\s*flow=(?P<flow>\w+),\s*name=(?P<name>\"[^\"]+\"),\s*"
    r"schedule=CronSchedule\(cron=(?P<cron>\"[^\"]+\")\),[^\n]*\s*\)\nawait deployment\.apply\(\)"
)


def blocks() -> list[str]:
    """Each block; those that deploy a flow call `scheduler.schedule_deployment` instead of `Deployment.build`."""
    found = []
    for text in BLOCK.findall(PAGE.read_text()):
        spelled = DEPLOYMENT.sub(
            r"deployment = await scheduler.schedule_deployment(\g<flow>, name=\g<name>, schedule=cron(\g<cron>))",
            IMPORTS.sub("", text),
        )
        found.append(spelled)
    return found


def as_function(block: str) -> str:
    """The block as the body of `async def snippet(scheduler)`."""
    return "async def snippet(scheduler):\n" + "".join(f"    {line}\n" for line in block.splitlines())
