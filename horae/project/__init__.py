"""A project on disk: the registry of its jobs, and the loading of job files."""
