"""Infrastructure jobs that must survive restarts, one per file. They go through the queue."""
