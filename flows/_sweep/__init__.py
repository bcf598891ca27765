"""The work of the code sweep, in plain functions that know nothing of Prefect."""
