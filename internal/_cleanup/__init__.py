"""The work of the cache cleanup, in plain functions."""
