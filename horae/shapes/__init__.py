"""The JSON of runs, jobs, dead letters and findings, for the command line and other programs."""
