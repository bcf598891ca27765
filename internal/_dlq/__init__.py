"""The work of the dead-letter processing, in plain functions."""
