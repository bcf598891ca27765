"""What of this project runs on this machine, and where it listens."""
