from horae import job


@job(idempotent=True)  # HR204 HR401
def simple() -> None:
    """Durable for no reason."""
