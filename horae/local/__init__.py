"""The parts of a project that run on this machine, and their addresses."""
