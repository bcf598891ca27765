from datetime import datetime

from horae import job
from horae import at


@job(schedule=at(datetime(2027, 1, 1)))  # HR702
def naive() -> None: ...
