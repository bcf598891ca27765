"""The worker type of Prefect that forks flow runs from a warm process."""
