from pydantic import BaseModel

from horae import job


class Scan(BaseModel):
    keep: int = 7


@job(traits=["infrastructure"], settings=Scan, idempotent=True)
def scan() -> None:
    """Sound, but for its settings in horae.toml."""
