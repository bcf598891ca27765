"""A helper, not a job: never loaded."""

raise AssertionError
