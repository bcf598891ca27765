from prefect import flow, task


@task(retries=2)
def step() -> None: ...


@flow(name="sound")
def sound() -> None:
    """A flow with nothing wrong."""
    step()


@flow(retries=1)
def needs(path: str, depth: int, width: int = 1) -> None:
    """A flow that must be given something."""
    step()


def helper() -> None:
    """No flow at all."""


@flow(name="na" + "med")
def named() -> None:
    """Has a name that is computed."""
