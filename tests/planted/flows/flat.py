import prefect


@prefect.flow(retries=1)
def flat() -> None:
    """Claims a graph and has none."""
