"""The work of the dependency audit, in plain functions that know nothing of Prefect."""
