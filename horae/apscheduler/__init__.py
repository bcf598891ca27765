"""The internal tier: APScheduler in the sidecar."""
