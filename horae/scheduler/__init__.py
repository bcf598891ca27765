"""The front door of a program: schedule, enqueue and replay."""
