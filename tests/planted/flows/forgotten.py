from prefect import flow


@flow(retries=1)
def forgotten() -> None:  # HR517
    """A flow that nothing deploys."""
