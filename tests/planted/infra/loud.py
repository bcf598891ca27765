from horae import job  # HR712

print("a line that would end up in the output of a command")


@job(traits={"infrastructure"}, idempotent=True)
def loud() -> None:
    """Do nothing."""
