"""The processes of a deployment: sidecar, queue worker and receiver, with their health page."""
