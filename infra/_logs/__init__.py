"""The work of the log aggregation, in plain functions."""
