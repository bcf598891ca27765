"""The checklist as rules, and the check of a whole project."""
