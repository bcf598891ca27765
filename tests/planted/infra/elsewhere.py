from horae import Retry, job


@job(  # HR211 HR214 HR215 HR221 HR222 HR710
    traits=["infrastructure"], provider="reddis", scope="each", run_on_start=True, retry=Retry(retries=1)
)
def elsewhere() -> None:
    """Durable, on a backend that is not there."""
