"""The work of the health check, in plain functions."""
