from prefect import flow


@flow
def hasty() -> None: ...
