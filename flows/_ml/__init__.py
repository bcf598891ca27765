"""The work of the machine learning pipeline, in plain functions that know nothing of Prefect."""
