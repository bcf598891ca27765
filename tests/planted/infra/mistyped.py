from horae import job


@job(scedule=None)  # HR702
def mistyped() -> None: ...
