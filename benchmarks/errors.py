"""What goes wrong in a measurement."""


class BenchError(Exception):
    """One contender cannot be measured; the others can."""
