"""The work of the security scan, in plain functions."""
