"""Prometheus metrics of a process and of the ledger."""
