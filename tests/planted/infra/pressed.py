from horae import job


@job(traits=["user_triggered", "infrastructure"], idempotent=True)  # HR203 HR401
def pressed() -> None:
    """Durable, with a button."""
