"""The work of the heartbeat, in plain functions."""
