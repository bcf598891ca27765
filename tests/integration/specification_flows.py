"""Runs the specification's flow snippets against PREFECT_API_URL, as a process of its own."""

import asyncio
import importlib.util
import logging
import sys
from pathlib import Path

from horae.project.registry import Registry
from horae.scheduler.scheduler import Scheduler
from horae.settings import load
from tests.specification import as_function, blocks

AROUND = """
from prefect import flow
from horae import cron

async def extract_step(): ...
async def transform_step(data): ...
async def load_step(transformed): ...

"""


async def main(project: Path) -> None:
    for number, block in enumerate(block for block in blocks() if "@flow" in block):
        # A deployment's flow is found by its file, so each snippet is one, as a user would have it.
        flow, _, deploying = block.partition("deployment = ")
        path = project / "flows" / f"snippet_{number}.py"
        path.write_text(AROUND + flow + "\n\n" + as_function("deployment = " + deploying))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        await module.snippet(Scheduler(load(project), Registry()))


if __name__ == "__main__":
    logging.getLogger("horae").addHandler(logging.StreamHandler())
    logging.getLogger("horae").setLevel(logging.INFO)
    asyncio.run(main(Path(sys.argv[1])))
