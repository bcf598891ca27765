"""The work of the weekly report, in plain functions that know nothing of Prefect."""
