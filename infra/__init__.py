"""One infrastructure job a file: what must survive restarts goes through the queue."""
