"""Finds deployments and schedules in Prefect that the project's files no longer have. `prefect deploy` keeps them."""

import http.client
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from horae.findings import Finding
from horae.prefect.rules import LEFT_DEPLOYMENT, LEFT_SCHEDULE
from horae.prefect.yaml.deployment import Deployment
from horae.settings import Settings
from horae.urls import without_login

SECONDS = 1.0
"""The longest time in seconds that a quick command waits for Prefect."""
PAGE = 200
FROM_CODE = "horae:from-code"
"""The tag of deployments that `Scheduler.schedule_deployment` made. No file has them."""


def leftovers(settings: Settings, files: Mapping[str, Deployment]) -> list[Finding]:
    """Findings on deployments in the project's work pool; none if Prefect is not configured or does not answer.

    `files`: the deployments of the project's files, by address. It uses one connection and no client library, so quick
    commands can call it.
    """
    try:
        found = list(_deployments(settings))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return []
    return list(compare(found, files, settings.prefect.work_pool))


def compare(found: Sequence[Mapping[str, Any]], files: Mapping[str, Deployment], pool: str) -> Iterator[Finding]:
    """Compare `found`, deployments in the JSON of Prefect's API with an added `address`, with the files."""
    for one in found:
        address, given = one["address"], files.get(one["address"])
        if given is None:
            if one.get("work_pool_name") == pool and FROM_CODE not in (one.get("tags") or ()):
                firing = "continues to fire" if _fires(one) else "stays"
                message = (
                    f"{address} is deployed in the work pool {pool!r}, but no file of this project has it; it {firing}"
                )
                remedy = f"Run `prefect deployment delete '{address}'`, or write the deployment into the file again."
                yield LEFT_DEPLOYMENT.finding(message, job=address, remedy=remedy)
            continue
        yield from _schedules(one, given)


def _schedules(one: Mapping[str, Any], given: Deployment) -> Iterator[Finding]:
    listed = given.raw.get("schedules", given.raw.get("schedule"))
    entries = listed if isinstance(listed, list) else [listed] if listed else []
    slugs = {entry.get("slug") for entry in entries if isinstance(entry, dict)}
    for schedule in one.get("schedules") or ():
        slug = schedule.get("slug")
        if schedule.get("active") and (slug not in slugs if slug else not entries):
            named = f"the slug {slug!r}" if slug else "no slug"
            message = (
                f"{given.job.name} has a schedule with {named} in Prefect, but not in its file; it continues to fire"
            )
            remedy = f"Run `prefect deployment schedule delete '{given.job.name}' {schedule['id']}`."
            yield LEFT_SCHEDULE.finding(message, job=given.job.name, at=given.job.source, remedy=remedy)


def _fires(one: Mapping[str, Any]) -> bool:
    return not one.get("paused") and any(schedule.get("active") for schedule in one.get("schedules") or ())


def _deployments(settings: Settings) -> Iterator[dict[str, Any]]:
    """Every deployment with its address. Raises OSError, HTTPException or ValueError if Prefect does not answer."""
    if settings.prefect.api_url is None:
        return
    address, login = without_login(settings.prefect.api_url.get_secret_value())
    url = urlsplit(address)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=SECONDS)
    headers = {"Content-Type": "application/json"}
    if login:
        headers["Authorization"] = f"Basic {b64encode(':'.join(login).encode()).decode()}"
    if settings.prefect.api_key:
        headers["Authorization"] = f"Bearer {settings.prefect.api_key.get_secret_value()}"

    def page(what: str, offset: int) -> list[dict[str, Any]]:
        body = json.dumps({"limit": PAGE, "offset": offset})
        connection.request("POST", f"{url.path.rstrip('/')}/{what}/filter", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"{what}: {answer.status}")
        found: list[dict[str, Any]] = json.loads(content)
        return found

    try:
        flows = {one["id"]: one["name"] for one in _all(page, "flows")}
        for one in _all(page, "deployments"):
            yield {**one, "address": f"{flows.get(one['flow_id'], '?')}/{one['name']}"}
    finally:
        connection.close()


def _all(page: Any, what: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while found := page(what, offset):
        yield from found
        if len(found) < PAGE:
            return
        offset += PAGE
