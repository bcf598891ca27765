from pydantic import BaseModel

from horae import job


class Rotation(BaseModel):
    keep: int = 7


@job(traits=["infrastructure"], settings=Rotation, idempotent=True)
def rotation() -> None:
    """Sound, but for its settings in horae.toml."""
