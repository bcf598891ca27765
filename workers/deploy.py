"""The main of the deploying container: creates the work pool, deploys prefect.yaml, and exits."""

import asyncio
import sys

from horae import settings
from horae.errors import HoraeError, InvalidSettings
from horae.prefect.api import PrefectApi
from horae.prefect.yaml import read
from horae.up.prefect_parts import deploy, prepare


async def main() -> None:
    given = settings.load()
    if given.prefect.api_url is None:
        raise InvalidSettings("no Prefect server is configured; set PREFECT_API_URL")
    api_key = given.prefect.api_key.get_secret_value() if given.prefect.api_key else None
    url = given.prefect.api_url.get_secret_value()
    async with PrefectApi(url, api_key) as api:
        await prepare(api, given.project, given.prefect.work_pool, ours=False, worker=given.prefect.worker_type)
    files = read(given.project, given.prefect.files, given.folders.flows).files
    print(await deploy(given.project, given.state, url, api_key, pool=given.prefect.work_pool, files=files))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except HoraeError as error:
        sys.exit(f"deploy: {error.message}")
