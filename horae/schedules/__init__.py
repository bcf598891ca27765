"""Schedules: the cron dialect, intervals, instants and zones."""
