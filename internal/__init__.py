"""One internal job a file: small upkeep that runs inside the sidecar."""
