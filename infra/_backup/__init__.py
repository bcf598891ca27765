"""The work of the database backup, in plain functions."""
