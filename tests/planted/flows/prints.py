from prefect import flow


@flow(retries=1)
def prints() -> None:
    """Talks to nobody."""
    print("hello")
