"""One machine: up.py starts and stops all parts, parts.py restarts what dies, board.py is the live table."""
