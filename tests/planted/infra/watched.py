from horae import job


@job(traits=["observability", "infrastructure"], idempotent=True)  # HR202 HR401
def watched() -> None:
    """Durable, with graphs."""
