from datetime import datetime

from horae.jobs import job
from horae.schedules import at


@job(schedule=at(datetime(2027, 1, 1)))  # HR702
def naive() -> None: ...
