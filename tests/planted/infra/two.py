from horae import job


@job(traits=["infrastructure"], idempotent=True)
def one() -> None: ...


@job(traits=["infrastructure"], idempotent=True)  # HR703
def other() -> None: ...
