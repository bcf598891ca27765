from horae.jobs import job


@job(traits=["infrastructure"], provider="reddis", scope="each", run_on_start=True)  # HR211 HR214 HR221 HR222
def elsewhere() -> None:
    """Durable, on a backend that is not there."""
