"""Deploys a flow from code. Prefect's SDK is imported only in the functions of this module."""

import logging
from typing import TYPE_CHECKING, Any

from horae.clock import EPOCH
from horae.errors import InvalidSchedule, PrefectUnavailable
from horae.prefect.api import PrefectApi
from horae.prefect.deployed import FROM_CODE
from horae.prefect.deployment_write import write
from horae.schedules.kinds import AnyOf, At, Cron, Every, Schedule
from horae.settings import Settings
from horae.urls import cleaned, shown

if TYPE_CHECKING:
    from prefect import Flow
    from prefect.client.schemas.schedules import SCHEDULE_TYPES

logger = logging.getLogger(__name__)


async def deploy_flow(settings: Settings, flow: "Flow[..., Any]", name: str, schedule: Schedule | None) -> str:
    """Create or update the deployment `flow/name` in the configured work pool; returns its id.

    The flow's code must be in a file below the working folder of the pool's workers. An unchanged deployment is not
    written. A write loses no fire; it may wait half a minute for that. Raises PrefectUnavailable, or InvalidSchedule
    for a schedule that Prefect cannot represent.
    """
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL, temporary_settings

    if settings.prefect.api_url is None:
        raise PrefectUnavailable("no Prefect is configured; run `horae up`, or set HORAE_PREFECT__API_URL")
    key, url = settings.prefect.api_key, settings.prefect.api_url.get_secret_value()
    configured: dict[Any, Any] = {PREFECT_API_URL: url}
    if key:
        configured[PREFECT_API_KEY] = key.get_secret_value()
    schedules = prefect_schedules(schedule) if schedule else []
    with temporary_settings(configured):
        deployment: Any = await flow.ato_deployment(
            name, schedules=schedules, work_pool_name=settings.prefect.work_pool, tags=[FROM_CODE]
        )
        try:
            async with PrefectApi(url, configured.get(PREFECT_API_KEY)) as prefect:
                id, what = await write(prefect, deployment, None, deployment.aapply)
                logger.info("deployment %s is %s", deployment.full_name, what)
                return str(id)
        except (PrefectHTTPStatusError, OSError) as error:
            raise PrefectUnavailable(f"Prefect at {shown(url)}: {cleaned(str(error), url)}") from error


def prefect_schedules(schedule: Schedule) -> "list[SCHEDULE_TYPES]":
    """The schedule as Prefect's schedules. `horae check` names the dates on which Prefect's cron engine differs."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    match schedule:
        case Cron():
            return [CronSchedule(cron=schedule.expression, timezone=schedule.tz)]
        case Every():
            return [IntervalSchedule(interval=schedule.interval, anchor_date=EPOCH + schedule.offset)]
        case At():
            once = "DTSTART:{:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=1"
            return [RRuleSchedule(rrule=once.format(instant)) for instant in schedule.instants]
        case AnyOf():
            return [one for part in schedule.members for one in prefect_schedules(part)]
    raise InvalidSchedule(f"Prefect has no equivalent of {schedule}; give cron(...), every(...) or at(...)")
