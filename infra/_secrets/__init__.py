"""The work of the secret rotation, in plain functions."""
