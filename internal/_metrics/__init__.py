"""The work of the metrics collection, in plain functions."""
