"""One registry, one decision matrix, three schedulers."""
